"""Which tensor is a map, and in which order its axes are."""

from __future__ import annotations

import types

import pytest
import torch

from stmbench.analyses.feature_layouts import Layout, first_tensor, layout_of
from stmbench.architectures.module_copies import FeatureSource
from stmbench.errors import UnitError

NOTHING = FeatureSource()


@pytest.mark.parametrize(
    ("shape", "image", "source", "wanted"),
    [
        ((2, 8, 4, 4), (32, 32), NOTHING, ("channels first", 4, 4, 0)),
        ((2, 4, 4, 8), (32, 32), NOTHING, ("channels last", 4, 4, 0)),
        ((2, 4, 4, 4), (32, 32), NOTHING, ("channels first", 4, 4, 0)),
        ((2, 9, 4, 6), (32, 48), NOTHING, ("channels first", 4, 6, 0)),
        ((2, 4, 6, 13), (32, 48), NOTHING, ("channels last", 4, 6, 0)),
        ((2, 96, 8, 9), (230, 260), NOTHING, ("channels first", 8, 9, 0)),
        ((2, 16, 5), (32, 32), NOTHING, ("tokens", 4, 4, 0)),
        ((2, 197, 5), (224, 224), NOTHING, ("tokens", 14, 14, 1)),
        ((2, 25, 5), (32, 48), NOTHING, ("tokens", 4, 6, 1)),
        ((2, 9, 5), (32, 32), NOTHING, ("tokens", 3, 3, 0)),
        ((2, 9, 5), (32, 32), FeatureSource(prefix_tokens=5), ("tokens", 2, 2, 5)),
        ((2, 9, 5), (32, 32), FeatureSource(patch_size=(16, 16)), ("tokens", 2, 2, 5)),
        ((2, 30, 5), (96, 70), FeatureSource(patch_size=(16, 14)), ("tokens", 6, 5, 0)),
        ((2, 64, 5), (32, 32), FeatureSource(patch_size=(2, 2)), ("tokens", 8, 8, 0)),  # a later stage's, merged
    ],
)
def test_layouts(shape: tuple[int, ...], image: tuple[int, int], source: FeatureSource, wanted: tuple[object]) -> None:
    found = layout_of(shape, image, source)
    assert (found.kind, found.height, found.width, found.prefix) == wanted


@pytest.mark.parametrize(
    ("shape", "source", "message"),
    [
        ((2, 10), NOTHING, r"expected a map .* of images of 32x32, got \(2, 10\)$"),
        ((2, 8, 4, 9), NOTHING, r"got \(2, 8, 4, 9\)$"),
        ((2, 99, 5), NOTHING, r"got \(2, 99, 5\); give prefix_tokens"),
        ((2, 17, 5), FeatureSource(prefix_tokens=0), r"got \(2, 17, 5\); give prefix_tokens"),
    ],
)
def test_what_is_no_map_is_refused(shape: tuple[int, ...], source: FeatureSource, message: str) -> None:
    with pytest.raises(UnitError, match=message):
        layout_of(shape, (32, 32), source)


def test_maps_of_every_layout_are_the_same() -> None:
    maps = torch.rand(2, 5, 4, 6)
    tokens = torch.cat([torch.zeros(2, 3, 5), maps.flatten(2).transpose(1, 2)], dim=1)
    for kind, x in (("channels first", maps), ("channels last", maps.permute(0, 2, 3, 1)), ("tokens", tokens)):
        layout = Layout(kind=kind, height=4, width=6, prefix=3)  # type: ignore[arg-type]
        assert torch.equal(layout.as_map(x), maps)


def test_the_first_tensor() -> None:
    x, y = torch.zeros(1), torch.ones(1)
    output = types.SimpleNamespace(pooler_output=y, last_hidden_state=x)
    for value in (x, (x, y), [None, x], {"a": None, "b": x, "c": y}, ((None, [x]), y), output):
        assert first_tensor(value) is x
    assert first_tensor((None, 3)) is None
