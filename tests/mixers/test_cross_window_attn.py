"""Cross-shaped window attention: the authors' outputs, the stripes themselves, and maps that they do not divide."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from stmbench.errors import ConfigError
from stmbench.mixers.base import MIXERS, BlockPosition
from stmbench.mixers.cross_window_attn import CrossWindowAttn, CrossWindowAttnConfig, config_at
from tests.mixers.forms import check_forms
from tests.mixers.golden import check_golden


def _module(stripe: int | None, dim: int = 64, heads: int = 4) -> CrossWindowAttn:
    torch.manual_seed(0)
    return CrossWindowAttn(CrossWindowAttnConfig(dim=dim, heads=heads, stripe=stripe)).double().eval()


@pytest.mark.parametrize(("case", "stripe"), [("cswin_s7", 7), ("cswin_s2", 2), ("cswin_full", None)])
def test_the_authors_outputs(case: str, stripe: int | None) -> None:
    check_golden(case, lambda height, width: _module(stripe))


@pytest.mark.parametrize("size", [(15, 23), (3, 5), (1, 1), (14, 7)])
@pytest.mark.parametrize("stripe", [1, 2, 7, None])
def test_any_map_equals_the_reference(size: tuple[int, int], stripe: int | None) -> None:
    check_forms(_module(stripe, dim=8, heads=2), size)


def test_half_of_the_channels_see_columns_and_half_rows() -> None:
    affinity = _module(2).affinity(torch.randn(1, 4, 6, 64, dtype=torch.float64))
    assert affinity.dynamic is not None
    seen = affinity.dynamic.rows(torch.tensor([6 * 1 + 2]))[0, :, 0].view(64, 4, 6) > 0  # token (1, 2)
    vertical, horizontal = torch.zeros(4, 6, dtype=torch.bool), torch.zeros(4, 6, dtype=torch.bool)
    vertical[:, 2:4], horizontal[0:2] = True, True
    assert bool((seen[:32] == vertical).all())
    assert bool((seen[32:] == horizontal).all())


def test_padding_is_zero_after_the_projection_half_of_it_on_each_side() -> None:
    module = _module(7, dim=8, heads=2)
    x = torch.randn(1, 7, 10, 8, dtype=torch.float64)  # 10 columns: 2 of padding on each side
    with torch.no_grad():
        module.qkv.bias.zero_()  # then it is the same before the projection
        module.proj.weight[:, 4:] = 0  # horizontal stripes are as wide as the map
        padded = module(F.pad(x, (0, 0, 2, 2)))
        assert torch.allclose(module(x), padded[:, :, 2:-2], rtol=0, atol=1e-12)


def test_stripes_widen_and_the_last_stage_has_none() -> None:
    sides = (56, 28, 14, 7)
    positions = [BlockPosition(stage=s, block=0, dim=64, resolution=(side, side)) for s, side in enumerate(sides)]
    assert [config_at(position).stripe for position in positions] == [1, 2, 7, None]
    # a stripe that would be the whole map
    assert config_at(dataclasses.replace(positions[2], resolution=(7, 9))).stripe is None
    heads = {dim: config_at(dataclasses.replace(positions[0], dim=dim)).heads for dim in (32, 64, 96, 144, 160, 6)}
    assert heads == {32: 2, 64: 2, 96: 4, 144: 6, 160: 8, 6: 2}


@pytest.mark.parametrize(
    ("dim", "options", "message"),
    [
        (64, {"stripes": (0,)}, "stripe >= 1"),
        (64, {"head_dim": 0}, "head_dim >= 1"),
        (63, {}, "an even dim"),
    ],
)
def test_options_that_are_refused(dim: int, options: dict[str, Any], message: str) -> None:
    position = BlockPosition(stage=0, block=0, dim=dim, resolution=(56, 56))
    with pytest.raises(ConfigError, match=message):
        MIXERS.get("cross_window_attn").build(position, **options)


def test_heads_that_do_not_fit_both_directions_are_refused() -> None:
    with pytest.raises(ConfigError, match="an even number of heads"):
        CrossWindowAttnConfig(dim=96, heads=3, stripe=7)
    with pytest.raises(ConfigError, match="heads that divide dim 64"):
        CrossWindowAttnConfig(dim=64, heads=3, stripe=None)


def test_it_compiles_to_one_graph() -> None:
    module = _module(2, dim=8, heads=2).float()
    x = torch.randn(1, 5, 6, 8)
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    with torch.no_grad():
        assert torch.allclose(compiled(x), module(x), rtol=0, atol=1e-6)
