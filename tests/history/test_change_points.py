"""Steps of known series: where they lie, how large they are, and how often noise is taken for one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest

from stmbench.history.change_points import SHORTEST, Floats, detect, detect_exact, noise_of


def _levels(*pairs: tuple[int, float]) -> Floats:
    return np.concatenate([np.full(count, level) for count, level in pairs])


def _noise(n: int, seed: int, scale: float = 1.0) -> Floats:
    return np.asarray(np.random.default_rng(seed).normal(scale=scale, size=n))


KNOWN = {
    "none": (_levels((80, 10.0)), ()),
    "one": (_levels((50, 10.0), (50, 7.0)), (50,)),
    "up and down": (_levels((40, 10.0), (30, 16.0), (50, 9.0)), (40, 70)),
    "several": (_levels((60, 0.0), (40, 5.0), (60, 9.0), (20, 4.0), (70, 20.0)), (60, 100, 160, 180)),
    "the last three": (_levels((60, 0.0), (SHORTEST, 12.0)), (60,)),
    "the first three": (_levels((SHORTEST, 12.0), (60, 0.0)), (3,)),
}


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("seed", range(3))
def test_known_steps_are_found_near_their_places(name: str, seed: int) -> None:
    levels, expected = KNOWN[name]
    fit = detect(levels + _noise(levels.size, seed, 0.5))
    assert len(fit.change_points) == len(expected)
    for step, place in zip(fit.change_points, expected, strict=True):
        assert abs(step.position - place) <= 1
        assert step.earliest <= place <= step.latest
        assert step.before == pytest.approx(levels[place - 1], abs=0.7)
        assert step.after == pytest.approx(levels[place], abs=0.7)
        assert not step.gradual
    assert fit.noise == pytest.approx(0.5, rel=0.6)


@pytest.mark.parametrize("name", KNOWN)
def test_steps_without_noise_are_exact(name: str) -> None:
    levels, expected = KNOWN[name]
    fit = detect(levels)
    assert tuple(step.position for step in fit.change_points) == expected
    assert fit.starts == (0, *expected)
    assert [step.after for step in fit.change_points] == [levels[place] for place in expected]


def test_two_records_behind_a_step_are_too_few_and_the_third_shows_it() -> None:
    noise = _noise(53, 1)
    counts = [len(detect((_levels((50, 0.0), (3, 15.0)) + noise)[:end]).change_points) for end in (51, 52, 53)]
    assert counts == [0, 0, 1]


@pytest.mark.parametrize("size", [1, 2])
def test_outliers_of_one_or_two_records_are_no_steps(size: int) -> None:
    values = 100 + _noise(200, 4)
    for place in range(15, 195, 30):
        values[place : place + size] += 40 * (-1) ** place
    assert detect(values).change_points == ()


def test_outliers_beside_a_step_do_not_hide_or_move_it() -> None:
    values = _levels((60, 100.0), (60, 92.0)) + _noise(120, 5)
    values[[10, 57, 64, 110]] += [30, -40, 40, 30]
    (step,) = detect(values).change_points
    assert abs(step.position - 60) <= 1
    assert step.after - step.before == pytest.approx(-8, abs=0.8)


def test_a_burst_beside_a_step_belongs_to_neither_side() -> None:
    values = _levels((60, 10.0), (60, 16.0)) + _noise(120, 11)
    values[59] = 30.0
    (step,) = detect(values).change_points
    assert step.earliest == 59
    assert step.latest == 60


def test_positions_count_missing_values_which_may_all_hold_the_step() -> None:
    values = _levels((40, 1.0), (40, 2.0)) + _noise(80, 6, 0.02)
    values[[0, 1, 7, 30]] = math.nan
    values[38:45] = math.nan
    (step,) = detect(values).change_points
    assert (step.position, step.earliest, step.latest) == (45, 45, 45)
    assert step.before == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_short_series_have_no_steps(n: int) -> None:
    assert detect(np.arange(n) * 100.0).change_points == ()
    assert detect([math.nan] * n).change_points == ()


def test_a_drift_is_called_gradual_and_a_step_is_not() -> None:
    drift = np.concatenate([np.zeros(50), np.linspace(0, 12, 60), np.full(50, 12.0)]) + _noise(160, 7)
    steps = detect(drift).change_points
    assert steps
    assert sum(step.gradual for step in steps) >= len(steps) / 2
    assert not any(step.gradual for step in detect(_levels((80, 0.0), (80, 12.0)) + _noise(160, 7)).change_points)


def test_changes_too_small_to_matter_are_left_out_smallest_first() -> None:
    values = _levels((60, 100.0), (60, 101.0), (60, 110.0)) + _noise(180, 8, 0.1)
    assert [step.position for step in detect(values).change_points] == [60, 120]
    (step,) = detect(values, smallest=3.0).change_points
    assert step.position == 120
    assert detect(values, smallest=50.0).change_points == ()


def test_without_noise_every_change_counts_even_of_one_record() -> None:
    fit = detect_exact([5.0, 5.0, math.nan, 7.0, 5.0, 5.0])
    assert [(step.position, step.before, step.after) for step in fit.change_points] == [(3, 5.0, 7.0), (4, 7.0, 5.0)]
    assert detect_exact([math.nan]).change_points == ()


NOISES: dict[str, tuple[Callable[[np.random.Generator, int], Floats], float]] = {
    "normal": (lambda generator, n: generator.normal(size=n), 0.01),
    "heavy tails": (lambda generator, n: generator.standard_t(3, size=n), 0.01),
    "wandering": (lambda generator, n: _autoregressive(generator.normal(size=n), 0.3), 0.03),
}


def _autoregressive(shocks: Floats, share: float) -> Floats:
    return np.asarray(list(itertools.accumulate(shocks.tolist(), lambda past, shock: share * past + shock)))


@pytest.mark.parametrize("name", NOISES)
def test_series_of_noise_seldom_show_a_step(name: str) -> None:
    """At most 1 series in 100 (3 with noise that wanders) of 100 records shows any step; the seeds are fixed."""
    make, bound = NOISES[name]
    trials = 300
    alarms = sum(bool(detect(make(np.random.default_rng(seed), 100)).change_points) for seed in range(trials))
    assert alarms <= bound * trials


def test_steps_of_four_noise_units_are_found_and_their_range_holds_the_place() -> None:
    detected, held = 0, 0
    for seed in range(100):
        place = 10 + seed % 80
        steps = detect(_levels((place, 0.0), (100 - place, 4.0)) + _noise(100, seed)).change_points
        detected += len(steps) == 1
        held += any(step.earliest <= place <= step.latest for step in steps)
    assert detected >= 97
    assert held >= 95


def test_the_fit_is_the_cheapest_of_all() -> None:
    """Against every way to cut a short series, by brute force, on values that need no holding."""
    from stmbench.history.change_points import _segment

    for seed in range(20):
        values = np.round(_noise(14, seed) + np.repeat([0, 2], 7), 1)

        def cost(ends: tuple[int, ...], values: Floats = values) -> float:
            sides = zip((0, *ends[:-1]), ends, strict=True)
            return sum(float(np.sum((values[a:b] - values[a:b].mean()) ** 2)) for a, b in sides) + 1.5 * len(ends)

        cuts = (c for count in range(5) for c in itertools.combinations(range(1, 14), count))
        allowed = [(*c, 14) for c in cuts if min(np.diff([0, *c, 14])) >= SHORTEST]
        assert cost(tuple(_segment(values, 1.5))) == pytest.approx(min(map(cost, allowed)))


def test_the_noise_is_told_from_differences_and_not_from_steps() -> None:
    values = _noise(400, 9, 2.0) + np.repeat([0.0, 500.0, -300.0, 100.0], 100)
    assert noise_of(values) == pytest.approx(2.0, rel=0.15)
