"""The benchmark's made-up history in small: the steps that were planted are found, and no others."""

from __future__ import annotations

from pathlib import Path

from benchmarks.dashboard import build, compare, make


def test_a_made_up_history_shows_exactly_the_planted_steps(tmp_path: Path) -> None:
    history, planted = make(tmp_path, commits=48, models=2, seed=15)
    assert len(planted) >= 3
    _, machines, page = build(history, tmp_path / "site")
    assert page.stat().st_size > 10_000
    assert compare(machines, planted) == ([], [])
    missed, made_up = compare(machines, planted[1:])
    assert missed == []
    assert [event.series.subject.metric for event in made_up] == [planted[0].metric]
    turned = [step._replace(rises=not step.rises) for step in planted]
    assert compare(machines, turned)[0] == turned
