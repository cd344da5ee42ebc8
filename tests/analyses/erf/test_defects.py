"""Known defects of common scripts: ours are without them, and `authors_code.v1` has them, to reproduce its figures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stmbench.analyses.erf.analysis import GradientMaps, StageMaps
from stmbench.analyses.erf.definitions import DEFINITIONS
from stmbench.analyses.erf.options import OURS
from stmbench.analyses.erf.unit_location import Grid

FREE = [name for name in DEFINITIONS if name != "authors_code.v1"]


def gaussian(side: int, centre: float, sigma: float, peak: float = 1.0) -> np.ndarray:
    line = np.exp(-((np.arange(side) - centre) ** 2) / (2 * sigma**2))
    return (peak * np.outer(line, line)).astype(np.float32)


def erf50(image: np.ndarray, centre: float, name: str) -> float:
    """ERF@50 of one map whose unit is centred on (centre, centre)."""
    maps = StageMaps(Grid(size=(1, 1), start=(centre, centre)), image.shape, 1)
    pixels = torch.from_numpy(image)[None]
    maps.add(GradientMaps(magnitude=pixels, rectified=pixels))
    (size,) = maps.sizes([DEFINITIONS[name]], [50], seed=0)
    return size.interval.estimate


@pytest.mark.parametrize("name", FREE)
def test_sizes_do_not_depend_on_the_unit_of_the_gradient(name: str) -> None:
    sizes = {erf50(gaussian(224, 112, 17.4, peak), 112, name) for peak in (1e-3, 1.0, 1e4)}
    assert len(sizes) == 1


def test_the_authors_logarithm_depends_on_it() -> None:
    sizes = [erf50(gaussian(224, 112, 17.4, peak), 112, "authors_code.v1") for peak in (1e-3, 1.0, 1e4)]
    linear = erf50(gaussian(224, 112, 17.4), 112, OURS)
    assert sizes[0] == pytest.approx(linear, abs=0.01)
    assert sizes[2] > 1.8 * linear  # the same map reads twice as large


def test_the_square_is_centred_where_the_unit_is() -> None:
    image = gaussian(1024, 527.5, 20)
    ours, theirs = (1024 * erf50(image, 527.5, name) for name in (OURS, "paper.v1"))
    assert ours == pytest.approx(43, abs=1.5)
    assert theirs == pytest.approx(55, abs=1.5)
    assert 1024 * erf50(gaussian(1024, 512, 20), 512, "paper.v1") == pytest.approx(43, abs=1.5)


def test_negative_gradients_count_unless_a_definition_drops_them() -> None:
    maps = StageMaps(Grid(size=(1, 1), start=(8.0, 8.0)), (17, 17), 1)
    magnitude, rectified = np.zeros((17, 17), np.float32), np.zeros((17, 17), np.float32)
    magnitude[8, 8] = rectified[8, 8] = 1.0
    magnitude[0, 0] = 3.0  # a strong negative gradient in the corner
    maps.add(GradientMaps(magnitude=torch.from_numpy(magnitude)[None], rectified=torch.from_numpy(rectified)[None]))
    found = {s.definition.name: s.interval.estimate for s in maps.sizes(list(DEFINITIONS.values()), [50], seed=0)}
    assert found[OURS] == found["paper.v1"] == 1.0
    assert found["stmbench.rectified.linear.v1"] == found["authors_code.v1"] == 1 / 17
