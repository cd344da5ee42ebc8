"""Rounds that resemble their neighbours: how much, in what blocks, and what intervals then hold."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stmbench.measure.blocks import autocorrelation, block_length, resamples, shortfall
from stmbench.measure.statistics import Floats, paired_ratio, rank_probabilities


def series(rho: float, count: int, random: np.random.Generator) -> Floats:
    """(count,) normal values, each correlated with the one before by `rho`."""
    values = random.standard_normal(count + 50)
    for number in range(1, len(values)):
        values[number] = rho * values[number - 1] + math.sqrt(1 - rho**2) * values[number]
    return values[50:]


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.6])
def test_the_correlation_of_neighbours_is_found(rho: float) -> None:
    random = np.random.default_rng(0)
    found = [autocorrelation(series(rho, 100, random)) for _ in range(50)]
    assert np.mean(found) == pytest.approx(rho, abs=0.06)  # of ranks, and cut at 0


def test_few_rounds_and_equal_ones_show_none() -> None:
    assert autocorrelation(np.arange(9.0)) == 0
    assert autocorrelation(np.ones(40)) == 0
    assert autocorrelation(np.tile([1.0, 2.0], 20)) == 0
    assert autocorrelation(np.arange(40.0)) == 0.9
    values = np.random.default_rng(0).integers(0, 5, 60)
    assert autocorrelation(-values) == pytest.approx(autocorrelation(values))


@pytest.mark.parametrize(
    ("correlation", "count", "length"),
    [(0.0, 100, 1), (0.3, 100, 5), (0.6, 100, 9), (0.6, 400, 13), (0.6, 12, 3), (0.9, 3, 1)],
)
def test_blocks_grow_with_the_correlation_and_the_rounds(correlation: float, count: int, length: int) -> None:
    assert block_length(correlation, count) == length


def test_what_blocks_cut_off() -> None:
    assert shortfall(0.0, 1, 50) == 1
    assert shortfall(0.5, 1, 50) == pytest.approx(math.sqrt(3 * 50 / 49))  # single rounds cut off all of it
    assert shortfall(0.5, 2, 50) == pytest.approx(math.sqrt(3 / 1.5 * 50 / 48))


def test_blocks_are_whole_and_wrap() -> None:
    drawn = resamples(10, length=4, draws=200, seed=0)
    assert drawn.shape == (200, 10)
    steps = np.diff(drawn[:, :4], axis=1) % 10
    assert (steps == 1).all()
    assert set(np.unique(drawn)) == set(range(10))
    assert (resamples(10, draws=3, seed=1) == np.random.default_rng(1).integers(0, 10, size=(3, 10))).all()


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.6])
def test_ratios_of_rounds_in_bursts_are_covered(rho: float) -> None:
    random = np.random.default_rng(3)
    held = []
    for seed in range(150):
        found = paired_ratio(np.exp(0.1 * series(rho, 60, random)), np.ones(60), draws=200, seed=seed)
        held.append(found.low <= 1 <= found.high)
    assert np.mean(held) >= 0.87  # single rounds: 0.93, 0.85, 0.74


def test_ranks_of_rounds_in_bursts_are_less_sure() -> None:
    values = 1 + 0.05 * np.sin(np.arange(60) / 5)  # ahead for a while, behind for a while
    other = np.ones(60)
    other[:3] = 0.999
    found = rank_probabilities({"a": values + 0.02, "b": other}, seed=0)
    assert 0.55 < found["a"][0] < 0.97
