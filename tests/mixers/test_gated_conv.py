"""Recursive gated convolution: the authors' numbers, the filter of HorNet-GF, and what the config refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from stmbench.architectures.catalog import create_model
from stmbench.errors import ConfigError
from stmbench.measure.counting import count
from stmbench.mixers.base import MIXERS, BlockPosition
from stmbench.mixers.gated_conv import GatedConv, GatedConvConfig, GlobalLocalFilter
from tests.mixers.golden import check_golden


def _mixer(dim: int = 64, **options: Any) -> GatedConv:
    return GatedConv(GatedConvConfig(dim=dim, **options))


@pytest.mark.parametrize("order", [2, 3, 5])
def test_it_is_the_authors(order: int) -> None:
    check_golden(f"gnconv{order}", lambda height, width: _mixer(order=order))


def test_the_global_filter_is_the_authors() -> None:
    check_golden("gnconv5_gf", lambda height, width: _mixer(order=5, spectrum=(14, 8)))


@pytest.mark.parametrize("size", [(5, 8), (4, 7), (1, 1), (2, 3)])
def test_the_filter_is_a_sum_of_waves_at_any_size(size: tuple[int, int]) -> None:
    mixer = _mixer(16, order=3, spectrum=(4, 5)).double()
    assert mixer.filter is not None
    x = torch.randn(2, *size, 16, dtype=torch.float64)
    with torch.no_grad():
        mixer.filter.spectrum.normal_()
        assert torch.allclose(mixer(x), mixer.reference(x), rtol=0, atol=1e-13)
    assert count(mixer, (*size, 16)).macs == mixer.macs(*size)


def test_the_spectrum_stays_in_float32_under_half_precision() -> None:
    """256 times the mean is beyond what bfloat16's 8 bits can add to, and rounding would leave nothing of the rest."""
    layer = GlobalLocalFilter(8, (8, 5)).requires_grad_(False)
    with torch.no_grad():
        layer.spectrum.zero_()[..., 0] = 1  # the filter that changes nothing
    x = torch.randn(1, 8, 8, 8) + 3
    expected = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert float((layer(x).float() - expected).abs().max()) < 0.05
    assert float((layer.bfloat16()(x.bfloat16()).float() - expected).abs().max()) < 0.1


@pytest.mark.parametrize(("stage", "order", "spectrum"), [(0, 2, None), (1, 3, None), (2, 4, (14, 8)), (3, 5, (14, 8))])
def test_the_authors_orders_and_filters_by_stage(stage: int, order: int, spectrum: tuple[int, int] | None) -> None:
    position = BlockPosition(stage=stage, block=0, dim=64, resolution=(14, 14))
    with_filter, without = (MIXERS.get(name).config_at(position) for name in ("gated_conv_gf", "gated_conv"))
    assert without == GatedConvConfig(dim=64, order=order)
    assert with_filter == GatedConvConfig(dim=64, order=order, spectrum=spectrum)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"dim": 24}, "dim a multiple of 16 for order 5"),
        ({"dim": 48, "spectrum": (4, 3)}, "dim a multiple of 32 for order 5"),
        ({"order": 0}, "order >= 1"),
        ({"kernel": 4}, "an odd kernel"),
        ({"spectrum": (0, 3)}, "a spectrum of at least 1 x 1"),
    ],
)
def test_impossible_configs_are_refused(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        GatedConvConfig(**{"dim": 64, **changes})


@pytest.mark.parametrize("mixer", ["gated_conv", "gated_conv_gf"])
def test_the_scale_is_an_option_of_a_model(mixer: str) -> None:
    by_name = create_model(f"unified_{mixer}_nano[gate_scale=0.5]")
    by_keyword = create_model(f"unified_{mixer}_nano", gate_scale=0.5)
    for model in (by_name, by_keyword):
        assert {module.config.gate_scale for module in model.modules() if isinstance(module, GatedConv)} == {0.5}


@pytest.mark.parametrize("spectrum", [None, (7, 5)])
def test_it_compiles_to_one_graph(spectrum: tuple[int, int] | None) -> None:
    mixer, x = _mixer(spectrum=spectrum), torch.randn(2, 7, 9, 64)
    compiled = torch.compile(mixer, fullgraph=True, backend="eager")
    assert torch.allclose(compiled(x), mixer(x), atol=1e-6)
