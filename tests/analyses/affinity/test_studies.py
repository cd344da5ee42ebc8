"""The Jacobian affinity of modules in whatever layout they take their map, and of blocks that make it smaller."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from stmbench.analyses.affinity.layers import Geometry, Layer
from stmbench.analyses.affinity.row_statistics import NAMES, entry_sums, row_numbers
from stmbench.analyses.affinity.studies import block_path, influence
from stmbench.errors import UnitError
from stmbench.mixers.affinity import map_columns

LAYER = Layer(number=1, stage=0, block=0, path="stages.0.blocks.0.mixer", height=4, width=3)


class Shifted(nn.Module):
    """Each position becomes the one to its left; of a layout of (B, C, H, W), (B, H, W, C) or tokens."""

    def __init__(self, layout: str) -> None:
        super().__init__()
        self.layout = layout

    def forward(self, x: Tensor) -> Tensor:
        if self.layout == "tokens":
            return x.view(len(x), 4, 3, -1).roll(1, 2).flatten(1, 2)
        return x.roll(1, 2 if self.layout == "last" else 3)


@pytest.mark.parametrize(("layout", "shape"), [("first", (2, 5, 4, 3)), ("last", (2, 4, 3, 5)), ("tokens", (2, 12, 5))])
def test_maps_are_found_in_every_layout(layout: str, shape: tuple[int, ...]) -> None:
    found, size = influence(Shifted(layout), torch.randn(shape), torch.tensor([4, 8]), LAYER)
    assert size == (4, 3)
    expected = torch.zeros(2, 2, 12)
    expected[:, 0, 3] = expected[:, 1, 7] = 5**0.5  # the identity of five channels
    torch.testing.assert_close(found, expected)


def test_a_block_may_make_its_map_smaller_and_positions_are_on_what_comes_out() -> None:
    found, (height, width) = influence(nn.AvgPool2d(2), torch.randn(1, 2, 8, 6), torch.tensor([4]), LAYER)
    assert (height, width) == (8, 6)
    assert found.view(8, 6).nonzero().tolist() == [[2, 2], [2, 3], [3, 2], [3, 3]]
    columns = map_columns(height, width)
    place = Geometry(columns=columns, height=4, width=3, pixels=(2.0, 2.0), radii=(1.0,))
    features = place.features(torch.tensor([4]), torch.arange(48)[None])
    numbers = dict(zip(NAMES, row_numbers(entry_sums(features, found[:, None]))[0, 0, 0].tolist(), strict=False))
    assert numbers["self_weight"] == pytest.approx(1)  # the patch is what lies at the position
    assert numbers["attention_distance"] == pytest.approx(2 * 0.5**0.5)
    assert numbers["centroid_offset"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("shape", "said"), [((2, 11, 5), "11 tokens are no map of 4 x 3"), ((2, 5), "shape")])
def test_what_is_no_map_is_said(shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(UnitError, match=said):
        influence(nn.Identity(), torch.randn(shape), torch.tensor([0]), LAYER)


def test_the_block_is_what_holds_the_mixer() -> None:
    assert block_path(LAYER) == "stages.0.blocks.0"
