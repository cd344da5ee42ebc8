"""The benchmark's made-up history in small: the steps that were planted are found, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.dashboard import SPEEDS, Planted, build, compare, make, models_of, values_of
from stmbench.history.series import MachineSeries, machines_of
from tests.history.series import record, series_key


def _machines(commits: int, models: int, seed: int) -> tuple[list[MachineSeries], list[Planted]]:
    """The benchmark's values as series, without folders."""
    values, probe, planted = values_of(commits, models_of(models), seed)
    subjects = {key: series_key("throughput", key[0])._replace(metric=key[1]) for key in values}
    beside = series_key("probe_peak", None)
    records = (
        record(n, {beside: probe[n], **{subjects[key]: series[n] for key, series in values.items()}})
        for n in range(commits)
    )
    return machines_of(records), planted


@pytest.mark.parametrize("seed", range(3))
def test_exactly_the_planted_steps_are_found(seed: int) -> None:
    machines, planted = _machines(150, 5, seed)
    assert len(planted) >= 8
    assert {series.by_probe for series in machines[0].series if series.key.metric in SPEEDS} == {True}
    assert compare(machines, planted) == ([], [])


def test_a_missed_a_made_up_and_a_turned_step_would_be_seen() -> None:
    machines, planted = _machines(150, 2, 0)
    first, *others = planted
    missed, made_up = compare(machines, others)
    assert missed == []
    assert [(event.series.key.model, event.series.key.metric) for event in made_up] == [first[:2]]
    turned = [step._replace(rises=not step.rises) for step in planted]
    assert compare(machines, turned)[0] == turned
    elsewhere = [step._replace(commit=step.commit + 5) for step in planted]
    assert compare(machines, elsewhere)[0] == elsewhere


def test_the_history_on_disk_holds_the_same_values(tmp_path: Path) -> None:
    history, _ = make(tmp_path, commits=4, models=1, seed=0)
    values, probe, _ = values_of(4, models_of(1), 0)
    _, (machine,), page = build(history, tmp_path / "site")
    assert page.is_file()
    by_metric = {series.key.metric: series for series in machine.series}
    (model,) = models_of(1)
    for metric in ("params", "accuracy", "peak_memory"):
        assert by_metric[metric].values.tolist() == values[model, metric].tolist()
    assert by_metric["throughput"].by_probe
    assert by_metric["throughput"].values[0] != values[model, "throughput"][0]
    assert len(probe) == len(machine.commits) == 4
