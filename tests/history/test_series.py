"""Records as series: gaps, correction by the probe, what is a loss, and which commits are suspect."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stmbench.analyses.registry import metrics
from stmbench.history.metrics import is_worse, tracked_metrics
from stmbench.history.record import SeriesKey, Summary, Value, as_json, from_json
from stmbench.history.series import events_of
from tests.history.series import machines, noisy, record, series_key
from tests.history.stores import sha

PROBE = series_key("probe_peak", None, batch_size=None)


def test_values_stand_at_their_commits_with_gaps_where_nothing_was_measured() -> None:
    (machine,) = machines({series_key(): [1, math.nan, 3], series_key("params"): [5, 5, 6]})
    throughput, params = machine.series
    np.testing.assert_array_equal(throughput.values, [1, math.nan, 3])
    assert [facts.commit for facts in machine.commits] == [sha(0), sha(1), sha(2)]
    assert params.key.metric == "params"
    assert [step.position for step in params.fit.change_points] == [2]


@pytest.mark.parametrize(("metric", "sign"), [("throughput", 1), ("latency", -1)])
def test_speeds_are_corrected_by_the_probe(metric: str, sign: int) -> None:
    speed = np.concatenate([np.full(20, 1.0), np.full(20, 0.7)])  # a machine that was slowed down, not the code
    values = 100 * np.asarray(noisy((40, 1.0))) * speed**sign
    (machine,) = machines({series_key(metric): values.tolist(), PROBE: (5e10 * speed).tolist()})
    (series,) = machine.series
    assert series.by_probe
    assert series.fit.change_points == ()
    usual = float(np.median(speed))
    np.testing.assert_allclose(series.values, values / (speed / usual) ** sign)
    (uncorrected,) = machines({series_key(metric): values.tolist()})[0].series
    assert not uncorrected.by_probe
    assert [step.position for step in uncorrected.fit.change_points] == [20]


def test_a_speed_without_a_probe_of_its_setting_or_commit_stays_as_it_is() -> None:
    other = series_key("probe_peak", None, dtype="bf16")
    missing = series_key("params", model="unified_sw_attn_micro")
    for probe in ({other: [1.0, 2.0, 3.0]}, {PROBE: [1.0, math.nan, 3.0]}):
        (machine,) = machines({series_key(): [10, 20, 30], missing: [1, 1, 1], **probe})
        np.testing.assert_array_equal(machine.series[0].values, [10, 20, 30])
        assert not machine.series[0].by_probe


def test_machines_are_kept_apart() -> None:
    from stmbench.history.series import machines_of

    both = machines_of([record(0, {series_key(): 1.0}), record(0, {series_key(): 2.0}, machine="ffffffffffff")])
    assert [machine.series[0].values.tolist() for machine in both] == [[1.0], [2.0]]


LOSSES = [
    ("throughput", 100, 90, True),
    ("throughput", 90, 100, False),
    ("latency", 0.01, 0.02, True),
    ("params", 10, 9, False),
    ("peak_memory", 1, 2, True),
    ("accuracy", 0.8, 0.7, True),
    ("consistency_auc", 0.8, 0.9, False),
    ("nll", 0.8, 0.9, True),
    ("erf", 0.1, 0.2, None),
    ("throughput", 1, 1, None),
]


@pytest.mark.parametrize(("metric", "before", "after", "expected"), LOSSES)
def test_which_way_is_worse(metric: str, before: float, after: float, expected: bool | None) -> None:
    assert is_worse(metric, before, after) is expected


def test_followed_metrics_are_those_of_the_schema() -> None:
    assert {"throughput", "macs", "accuracy", "consistency_auc", "erf"} <= set(tracked_metrics()) <= set(metrics())


def test_suspects_are_all_commits_since_the_last_sure_measurement() -> None:
    values = noisy((20, 100.0), (20, 80.0))
    values[18:22] = [math.nan] * 4
    (machine,) = machines({series_key(): values})
    (event,) = events_of(machine)
    assert event.worse
    assert event.commit.commit == sha(22)
    assert [facts.commit for facts in event.suspects] == [sha(number) for number in range(18, 23)]
    assert event.ratio == pytest.approx(0.8, rel=0.02)


def test_events_come_newest_first_with_levels_in_base_units() -> None:
    table = {series_key(): noisy((20, 100.0), (20, 80.0)), series_key("params"): [4e6] * 30 + [5e6] * 10}
    events = events_of(machines(table)[0])
    assert [event.series.key.metric for event in events] == ["params", "throughput"]
    assert (events[0].change_point.before, events[0].change_point.after) == (4e6, 5e6)
    assert events[1].change_point.before == pytest.approx(100, rel=0.01)


def test_changes_below_what_a_metric_is_worth_are_no_events() -> None:
    steady = noisy((50, 100.0), (50, 101.0), scale=0.0005)  # 1 %, far above the noise, below SPEED
    assert events_of(machines({series_key(): steady})[0]) == []
    assert len(events_of(machines({series_key("params"): [1e6] * 5 + [1e6 + 1] * 5})[0])) == 1


def test_a_summary_of_an_older_version_goes_on_in_the_same_series() -> None:
    new = Summary(values=(Value(series_key(), 1.0, 0.9, 1.1),), failures=(), mixers={}, unreadable=())
    stored = as_json(new)
    place = SeriesKey._fields.index("resolution")
    assert stored["subjects"][0][place] == "224"
    stored["subjects"][0][place] = 224
    assert from_json(stored) == new
