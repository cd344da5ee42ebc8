"""AFNO against the authors' outputs; its residual, its kept modes, half precision."""

from __future__ import annotations

import pytest
import torch

from stmbench.errors import ConfigError
from stmbench.measure.counting import count
from stmbench.mixers.afno import Afno, AfnoConfig
from stmbench.mixers.base import MIXERS, BlockPosition
from tests.mixers.golden import check_golden


def built(**options: object) -> Afno:
    """With weights large enough that every term matters."""
    torch.manual_seed(0)
    module = Afno(AfnoConfig(dim=16, **{"blocks": 4, **options})).double().eval()  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.4)
    return module


def test_the_authors_output() -> None:
    check_golden("afno2d", lambda height, width: Afno(AfnoConfig(dim=64)))


@pytest.mark.parametrize("size", [(14, 14), (9, 7), (1, 1), (40, 3)])
@pytest.mark.parametrize("options", [{}, {"expansion": 3}, {"fraction": 0.05, "threshold": 0.3, "residual": False}])
def test_variants(options: dict[str, object], size: tuple[int, int]) -> None:
    module, x = built(**options), torch.randn(2, *size, 16, dtype=torch.float64)
    with torch.no_grad():
        output = module(x)
        assert output.is_contiguous()
        assert torch.allclose(output, module.reference(x), rtol=1e-10, atol=1e-10)
    assert module.macs(*size) == count(module, (*size, 16)).macs


def test_the_residual_inside() -> None:
    with_input, without, x = built(), built(residual=False), torch.randn(1, 5, 6, 16, dtype=torch.float64)
    with torch.no_grad():
        assert torch.equal(with_input(x), x + without(x))


def test_a_fraction_is_one_of_all_modes_but_taken_of_the_columns() -> None:
    x = torch.randn(1, 8, 8, 16, dtype=torch.float64)
    with torch.no_grad():
        # 5 columns, 33 modes: 33 / 6 is more than 5, 33 / 16 is 2
        assert torch.equal(built(fraction=1 / 6)(x), built()(x))
        columns = torch.fft.rfft2(built(fraction=1 / 16, residual=False)(x), dim=(1, 2)).abs().amax(dim=(0, 1, 3))
    assert float(columns[:2].min()) > 1
    assert float(columns[2:].max()) < 1e-12


@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_is_computed_in_float32(autocast: bool) -> None:
    module = built(residual=False).bfloat16()
    x = torch.randn(1, 14, 14, 16).bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        output = module(x)
    assert torch.equal(output, module.float()(x.float()).bfloat16())


@pytest.mark.parametrize("wrong", [{"blocks": 3}, {"expansion": 0}, {"threshold": -1.0}, {"fraction": 0.0}])
def test_config(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        built(**wrong)


def test_one_graph() -> None:
    module = MIXERS.get("afno").build(BlockPosition(stage=0, block=0, dim=32, resolution=(14, 14)))
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    x = torch.randn(2, 9, 7, 32)
    assert torch.allclose(compiled(x), module(x), rtol=1e-5, atol=1e-6)
