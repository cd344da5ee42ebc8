"""Neighborhood attention: the authors' outputs, the neighbours themselves, and maps smaller than a neighbourhood."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from stmbench.errors import ConfigError
from stmbench.mixers.base import MIXERS, BlockPosition
from stmbench.mixers.neighborhood_attn import NeighborhoodAttn, NeighborhoodAttnConfig, config_at
from tests.mixers.forms import check_forms
from tests.mixers.golden import check_golden


def _module(**fields: int | bool) -> NeighborhoodAttn:
    torch.manual_seed(0)
    return NeighborhoodAttn(NeighborhoodAttnConfig(**{"dim": 64, "heads": 2, **fields})).double().eval()


@pytest.mark.parametrize(("case", "dilation"), [("nat_k7", 1), ("nat_k7_d2", 2), ("nat_k7_legacy", 1)])
def test_the_authors_outputs(case: str, dilation: int) -> None:
    check_golden(case, lambda height, width: _module(dilation=dilation))


@pytest.mark.parametrize("size", [(15, 23), (33, 10), (1, 1), (21, 64)])
@pytest.mark.parametrize("fields", [{"kernel": 5, "dilation": 3}, {"kernel": 3, "relative_bias": False}])
def test_any_map_equals_the_reference(size: tuple[int, int], fields: dict[str, int]) -> None:
    check_forms(_module(dim=8, heads=1, **fields), size)


def test_the_neighbours_of_a_corner_and_of_the_middle() -> None:
    module = _module(kernel=3, dilation=2)
    affinity = module.affinity(torch.randn(1, 9, 9, 64, dtype=torch.float64))
    columns, weights = affinity.entries(torch.tensor([0, 9 * 4 + 4, 9 * 8 + 7]))
    # a corner sees the nearest 3 x 3 of its own class, and so does a token near the last row
    assert columns[0].tolist() == [0, 2, 4, 18, 20, 22, 36, 38, 40]
    assert columns[1].tolist() == [20, 22, 24, 38, 40, 42, 56, 58, 60]
    assert columns[2].tolist() == [9 * y + x for y in (4, 6, 8) for x in (3, 5, 7)]
    assert bool((weights > 0).all())


def test_blocks_alternate_as_far_as_the_map_allows() -> None:
    sides = (56, 28, 14, 7)
    positions = [BlockPosition(stage=s, block=1, dim=64, resolution=(side, side)) for s, side in enumerate(sides)]
    assert [config_at(position).dilation for position in positions] == [8, 4, 2, 1]
    assert [config_at(dataclasses.replace(p, block=2)).dilation for p in positions] == [1, 1, 1, 1]
    assert [config_at(position, dilation=1).dilation for position in positions] == [1, 1, 1, 1]
    assert config_at(dataclasses.replace(positions[0], resolution=(2, 2))).dilation == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel": 4}, "an odd kernel >= 3"),
        ({"kernel": 0}, "kernel >= 1"),
        ({"dilation": 0}, "dilation >= 1"),
        ({"head_dim": 48}, "dim 64 divisible by head_dim"),
    ],
)
def test_options_that_are_refused(options: dict[str, int], message: str) -> None:
    position = BlockPosition(stage=0, block=1, dim=64, resolution=(56, 56))
    with pytest.raises(ConfigError, match=message):
        MIXERS.get("neighborhood_attn").build(position, **options)


def test_padding_is_attended_to_and_gets_the_bias() -> None:
    module = _module(dilation=2)  # needs 14 tokens a side
    x = torch.randn(1, 5, 14, 64, dtype=torch.float64)
    padded = torch.nn.functional.pad(x, (0, 0, 0, 0, 0, 9))
    with torch.no_grad():
        assert torch.allclose(module(x), module(padded)[:, :5], rtol=0, atol=1e-12)
    assert module.macs(5, 14) == 14 * 14 * (3 * 64**2 + 2 * 49 * 64) + 5 * 14 * 64**2


def test_it_compiles_to_one_graph() -> None:
    module = _module(dim=8, heads=1, kernel=3, dilation=2).float()
    x = torch.randn(1, 9, 6, 8)
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    with torch.no_grad():
        assert torch.equal(compiled(x), module(x))
