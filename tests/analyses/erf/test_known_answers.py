"""Maps and sizes of networks whose receptive fields can be written down."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from stmbench.analyses.erf.analysis import GradientMaps, StageMaps, gradient_maps, profile, rings, sides_holding
from stmbench.analyses.erf.definitions import DEFINITIONS
from stmbench.analyses.erf.options import OURS
from stmbench.analyses.erf.unit_location import Grid, grids, probe
from stmbench.analyses.stages import stages_of
from tests.analyses.erf.networks import Forbidden, Shifted, Staged, averaging, positive, stack


def measured(model: nn.Module, side: int, count: int = 2) -> list[StageMaps]:
    """The maps of every stage of a model on images of `side` pixels."""
    stages, images = stages_of(model), positive(count, side)
    maps, calls = probe(model, stages, images[:1])
    found = grids((side, side), [(m.shape[2], m.shape[3]) for m in maps], calls)
    gathered = [StageMaps(grid, (side, side), count) for grid in found]
    for stage, part in zip(gathered, gradient_maps(model, stages, images), strict=True):
        stage.add(part)
    return gathered


def size_of(maps: StageMaps, name: str = OURS, percent: float = 50) -> float:
    (size,) = maps.sizes([DEFINITIONS[name]], [percent], seed=0)
    return size.interval.estimate


def powers(count: int, kernel: int, side: int) -> np.ndarray:
    """The `count`-fold convolution of a box with itself, centred on pixel side // 2."""
    line = np.ones(1)
    for _ in range(count):
        line = np.convolve(line, np.full(kernel, 1 / kernel))
    padded, start = np.zeros(side), side // 2 - len(line) // 2
    padded[start : start + len(line)] = line
    return np.outer(padded, padded)


@pytest.mark.parametrize(("count", "kernel"), [(1, 3), (4, 3), (3, 5), (8, 3), (2, 7)])
def test_stacked_averages_give_the_kernels_power(count: int, kernel: int) -> None:
    (maps,) = measured(stack(count, kernel), 33)
    found = maps.mean("magnitude")
    expected = powers(count, kernel, 33)
    assert np.allclose(found / found.sum(), expected, atol=1e-8)
    rows = np.arange(33) - 16
    variance = (found.sum(1) / found.sum() * rows**2).sum()
    assert variance == pytest.approx(count * (kernel**2 - 1) / 12)  # Luo et al. 2016
    inside = [expected[16 - r : 17 + r, 16 - r : 17 + r].sum() for r in range(17)]
    smallest = next(2 * r + 1 for r, mass in enumerate(inside) if mass >= 0.5 - 1e-9)
    assert size_of(maps) == smallest / 33


@pytest.mark.parametrize("side", [32, 33, 64, 224])
def test_a_global_average_is_flat(side: int) -> None:
    (maps,) = measured(Staged(nn.AdaptiveAvgPool2d(1)), side)
    found = maps.mean("magnitude")
    assert found.min() == pytest.approx(found.max())
    # the smallest square of whole pixels that holds half of the area
    assert np.sqrt(0.5) <= size_of(maps) < np.sqrt(0.5) + 2 / side


@pytest.mark.parametrize("percent", [1, 50, 100])
def test_an_identity_is_one_pixel(percent: float) -> None:
    (maps,) = measured(Staged(nn.Identity()), 32)
    assert size_of(maps, percent=percent) == 1 / 32
    assert np.flatnonzero(maps.mean("magnitude")).tolist() == [16 * 32 + 16]


@pytest.mark.parametrize(("dy", "dx"), [(3, 0), (0, -5), (2, 7), (-4, -4)])
def test_a_shifted_identity_is_one_pixel_elsewhere(dy: int, dx: int) -> None:
    (maps,) = measured(Staged(Shifted(dy, dx)), 32)
    assert np.flatnonzero(maps.mean("magnitude")).tolist() == [(16 - dy) * 32 + 16 - dx]
    assert size_of(maps) == (2 * max(abs(dy), abs(dx)) + 1) / 32


STEMS = {
    "overlapping 3x3": ((averaging(3, 3, stride=2), averaging(1, 3, stride=2)), 4.0, 0.0),
    "patches 4x4": ((averaging(3, 4, stride=4, padding=0),), 4.0, 1.5),
    "7x7 and pooling": ((averaging(3, 7, stride=2), nn.AvgPool2d(3, 2, 1)), 4.0, 0.0),
    "padding apart": ((nn.ZeroPad2d((1, 2, 1, 2)), averaging(3, 5, stride=2, padding=0)), 2.0, 1.0),
    "dilated": ((nn.Conv2d(3, 1, 3, stride=2, padding=1, dilation=2, bias=False),), 2.0, 1.0),
}


@pytest.mark.parametrize("name", STEMS)
def test_a_units_centre_follows_from_the_convolutions_and_is_where_its_gradient_is(name: str) -> None:
    layers, step, start = STEMS[name]
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.constant_(layer.weight, 1.0)
    (maps,) = measured(Staged(nn.Sequential(*layers)), 32)
    assert (maps.grid.step, maps.grid.start, maps.grid.assumed) == ((step, step), (start, start), False)
    found, places = maps.mean("magnitude"), np.arange(32)
    centroid = (found.sum(1) @ places / found.sum(), found.sum(0) @ places / found.sum())
    assert centroid == pytest.approx(maps.grid.centre)


@pytest.mark.parametrize(("side", "centre"), [(224, 96.0), (1024, 512.0)])
def test_the_unified_stem_and_transitions_are_centred_on_multiples_of_32(side: int, centre: float) -> None:
    convs = [averaging(3 if i == 0 else 1, 3, stride=2) for i in range(5)]
    grid = _grid_of(Staged(nn.Sequential(*convs)), side)
    assert grid.step[0] == 32
    assert grid.centre == (centre, centre)


@pytest.mark.parametrize(("side", "centre"), [(224, 111.5), (1024, 527.5)])
def test_patches_that_do_not_overlap_are_centred_between_pixels(side: int, centre: float) -> None:
    patches = [averaging(3, 4, stride=4, padding=0), *(averaging(1, 2, stride=2, padding=0) for _ in range(3))]
    grid = _grid_of(Staged(nn.Sequential(*patches)), side)
    assert grid.centre == (centre, centre)


def _grid_of(model: nn.Module, side: int) -> Grid:
    maps, calls = probe(model, stages_of(model), torch.zeros(1, 3, side, side))
    return grids((side, side), [(m.shape[2], m.shape[3]) for m in maps], calls)[-1]


def test_only_what_is_needed_is_computed_and_batches_do_not_mix() -> None:
    model = Staged(averaging(3, 3), averaging(1, 5), Forbidden())
    model.feature_info = model.feature_info[:2]
    model.requires_grad_(False)
    images, stages = positive(4, 16), stages_of(model)
    together = list(gradient_maps(model, stages, images))
    alone = [list(gradient_maps(model, stages, image[None])) for image in images]
    for number, maps in enumerate(together):
        assert torch.equal(maps.magnitude, torch.cat([one[number].magnitude for one in alone]))
    assert all(p.grad is None for p in model.parameters())


def test_a_square_is_the_smallest_that_holds_the_share() -> None:
    random = np.random.default_rng(0)
    for height, width, centre in itertools.product((7, 10), (9, 12), ((3.0, 4.0), (2.5, 5.5), (0.0, 8.0))):
        image = random.random((height, width)) ** 4
        number, sides = rings(height, width, centre)
        ys, xs = np.mgrid[:height, :width]
        for share in (0.1, 0.5, 0.9, 1.0):
            found = float(sides_holding(profile(image, number, len(sides)), sides, share))
            masses = {
                side: image[(abs(ys - centre[0]) <= (side - 1) / 2) & (abs(xs - centre[1]) <= (side - 1) / 2)].sum()
                for side in sides
            }
            assert masses[found] >= share * image.sum() * (1 - 1e-9)
            smaller = [mass for side, mass in masses.items() if side < found]
            assert all(mass < share * image.sum() for mass in smaller)


def test_intervals_hold_the_estimate_and_close_with_more_images() -> None:
    random, widths = np.random.default_rng(0), []
    for count in (8, 128):
        maps = StageMaps(Grid(size=(33, 33)), (33, 33), count)
        images = np.stack([powers(int(n), 3, 33) for n in random.integers(1, 9, count)]).astype(np.float32)
        maps.add(GradientMaps(magnitude=torch.from_numpy(images), rectified=torch.from_numpy(images)))
        for size in maps.sizes(list(DEFINITIONS.values()), [50, 90], seed=0):
            assert size.interval.low <= size.interval.estimate <= size.interval.high
            assert size.interval.count == count
        (size,) = maps.sizes([DEFINITIONS["stmbench.magnitude.quarter.v1"]], [90], seed=0)
        widths.append(size.interval.high - size.interval.low)
    assert widths[1] < widths[0]


def test_one_image_has_no_interval() -> None:
    maps = StageMaps(Grid(size=(9, 9)), (9, 9), 1)
    one = torch.from_numpy(powers(2, 3, 9)[None].astype(np.float32))
    maps.add(GradientMaps(magnitude=one, rectified=one))
    (size,) = maps.sizes([DEFINITIONS[OURS]], [50], seed=0)
    assert size.interval.estimate > 0
    assert np.isnan(size.interval.low)
