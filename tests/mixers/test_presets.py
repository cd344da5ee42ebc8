"""Presets of newer mixers cost what the default mixer's models do."""

from __future__ import annotations

from typing import Any

import pytest

from stmbench.architectures.catalog import create_model
from stmbench.measure.counting import count
from stmbench.mixers import BUILTIN
from stmbench.mixers.base import DEFAULT_PRESETS, MIXERS, BlockPosition, Preset

pytestmark = pytest.mark.slow

MAPS = (56, 28, 14, 7)
MATCHED = [name for name in BUILTIN if {"micro", "tiny"} == MIXERS.get(name).presets.keys() - {"nano"}]


def blocks(mixer: str, preset: Preset) -> int:
    """Multiply-adds of all mixers and MLPs, by formula."""
    total = 0
    for stage, (dim, depth, side) in enumerate(zip(preset.dims, preset.depths, MAPS, strict=True)):
        for block in range(depth):
            position = BlockPosition(stage=stage, block=block, dim=dim, resolution=(side, side))
            module: Any = MIXERS.get(mixer).build(position, **preset.options)
            total += module.macs(side, side) + 2 * int(preset.mlp_ratios[stage] * dim * dim * side**2)
    return total


def rest(preset: Preset) -> int:
    """Of the stem, the transitions and the head."""
    dims = "-".join(map(str, preset.dims))
    whole = count(create_model(f"unified_identity_micro[dims={dims},depths=1-1-1-1]"), (3, 224, 224)).macs
    return whole - sum(8 * dim * dim * side**2 for dim, side in zip(preset.dims, MAPS, strict=True))


@pytest.mark.parametrize("scale", ["micro", "tiny"])
def test_presets_are_within_three_percent_of_the_default_mixers(scale: str) -> None:
    assert len(MATCHED) > 20
    default = MIXERS.get(DEFAULT_PRESETS).presets[scale]
    target = blocks(DEFAULT_PRESETS, default) + rest(default)
    rests: dict[tuple[int, ...], int] = {}
    far = {}
    for name in MATCHED:
        preset = MIXERS.get(name).presets[scale]
        rests.setdefault(preset.dims, rest(preset))
        deviation = (blocks(name, preset) + rests[preset.dims]) / target - 1
        if abs(deviation) > 0.03:
            far[name] = deviation
    assert far == {}


@pytest.mark.parametrize("name", [name for name in BUILTIN if MIXERS.get(name).layouts])
def test_the_authors_tiny_layout_can_be_built(name: str) -> None:
    layout = MIXERS.get(name).layouts["tiny"]
    for stage, (dim, side) in enumerate(zip(layout.dims, MAPS, strict=True)):
        for block in range(min(2, layout.depths[stage])):
            position = BlockPosition(stage=stage, block=block, dim=dim, resolution=(side, side))
            module: Any = MIXERS.get(name).build(position, **layout.options)
            assert module.macs(side, side) > 0
