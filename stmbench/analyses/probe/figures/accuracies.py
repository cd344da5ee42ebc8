"""Accuracies of the probes, the best model first; and by epoch, of models with weights of several epochs."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from stmbench.analyses.probe.options import KNN, LINEAR, NAME, SHOWN_K
from stmbench.figures.curves import draw_levels, join_trainings, lines_of, words_of
from stmbench.figures.dots import dot_plot
from stmbench.figures.plot_data import Point, points_of
from stmbench.tables.labels import run_and_epoch, run_label


def accuracy_figures(frame: pd.DataFrame) -> dict[str, Figure]:
    """Name -> figure; none where the rows hold nothing to draw."""
    rows, found = of_probes(frame), dict[str, Figure]()
    panels = _panels(last_epochs(rows))
    same = len({frozenset(map(_without_definition, panel.points)) for panel in panels}) == 1
    groups = [panels] if same else [[panel] for panel in panels]
    for group in groups:
        if max(len(panel.points) for panel in group) > 1:
            each = {panel.metric: panel.points for panel in group}
            words = {panel.metric: f"{panel.heading}, %" for panel in group}
            name = "probe_accuracy" if len(groups) == 1 else f"probe_{group[0].metric.removesuffix('_accuracy')}"
            found[name] = dot_plot(each, words, "Probes of frozen features")
    if lines := by_epoch(rows):
        found["probe_epochs"] = _epochs(rows, lines)
    return found


def left_out(frame: pd.DataFrame) -> list[str]:
    """A line where the figure of accuracies would hold one point."""
    panels = _panels(last_epochs(of_probes(frame)))
    if not panels or max(len(panel.points) for panel in panels) > 1:
        return []
    return ["No figure of the probes' accuracies: it would hold one point; the table has its value."]


class Panel(NamedTuple):
    """What a panel, or a column, is of."""

    heading: str
    metric: str
    points: list[Point]


def of_probes(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of this analysis."""
    chosen = frame[frame["analysis"] == NAME]
    chosen.attrs = frame.attrs
    return chosen


def knn_points(rows: pd.DataFrame) -> dict[int, list[Point]]:
    """k -> points, rising."""
    found: dict[int, list[Point]] = {}
    for point in points_of(rows, KNN):
        found.setdefault(int(point.level), []).append(point)
    return dict(sorted(found.items()))


def linear_points(rows: pd.DataFrame, metric: str = LINEAR) -> dict[str, list[Point]]:
    """Solver -> points, labelled as the neighbours' of the same weights are."""
    found: dict[str, list[Point]] = {}
    neighbours = knn_points(rows)
    settings = {_without_definition(point): point.setting for point in neighbours.get(shown_k(neighbours) or 0, [])}
    for solver in rows.loc[rows["metric"] == metric, "condition"].dropna().unique():
        chosen = rows[rows["condition"] == solver]  # their labels need not name the solver
        chosen.attrs = rows.attrs
        found[str(solver)] = [
            dataclasses.replace(point, setting=settings.get(_without_definition(point), point.setting))
            for point in points_of(chosen, metric)
        ]
    return {solver: points for solver, points in found.items() if points}


def _without_definition(point: Point) -> tuple[Any, ...]:
    """What two probes of one network agree in."""
    return (point.model, *(value for facet, value in point.facts.items() if facet != "definition"))


def shown_k(found: dict[int, list[Point]]) -> int | None:
    """The number of neighbours that figures show: the one nearest to 20."""
    return min(found, key=lambda k: abs(k - SHOWN_K), default=None)


def last_epochs(rows: pd.DataFrame) -> pd.DataFrame:
    """Without the weights of a run's earlier epochs, where there are those of a later one, and without doubles.

    Weights that are left are called like those of a whole run, so that seeds of a training can be joined.
    """
    pairs = list(rows[["model", "weights"]].dropna().drop_duplicates().itertuples(index=False, name=None))
    known = {(model, label): run for model, label in pairs if (run := run_and_epoch(label)) is not None}
    last: dict[tuple[str, str], int] = {}
    for (model, _), (name, epoch) in known.items():
        last[model, name] = max(epoch, last.get((model, name), 0))
    # what a run kept of its last epoch are the weights that it ended with, whose label says no epoch
    known = dict(sorted(known.items(), key=lambda item: f".epoch{item[1][1]}" in item[0][1], reverse=True))
    first = {(pair[0], run): pair for pair, run in known.items()}
    left = {pair for pair, (name, epoch) in known.items() if epoch < last[pair[0], name]}
    left |= {pair for pair, run in known.items() if first[pair[0], run] != pair}
    kept = [pair not in left for pair in zip(rows["model"], rows["weights"], strict=True)]
    chosen = rows[kept]
    chosen = chosen.assign(weights=chosen["weights"].map(run_label, na_action="ignore").astype("string"))
    chosen.attrs = rows.attrs
    return chosen


def by_epoch(rows: pd.DataFrame) -> list[Point]:
    """kNN accuracy with the epoch as level, of runs with weights of several epochs; seeds of a training are joined."""
    by_k, found = knn_points(rows), dict[tuple[Any, ...], Point]()
    for point in by_k.get(shown_k(by_k) or 0, []):
        if (run := run_and_epoch(point.facts["weights"])) is not None:
            facts = {**point.facts, "weights": run[0]}
            setting = point.setting.replace(str(point.facts["weights"]), run[0])
            moved = dataclasses.replace(point, setting=setting, level=float(run[1]), facts=facts)
            found.setdefault((point.model, *facts.values(), run[1]), moved)
    several = {label for label, line in lines_of(found.values()).items() if len({point.level for point in line}) > 1}
    return join_trainings(point for point in found.values() if point.label in several)


def _epochs(rows: pd.DataFrame, found: list[Point]) -> Figure:
    k, of_knn = shown_k(knn_points(rows)), rows[rows["metric"] == KNN]
    return draw_levels(
        {KNN: found},
        {KNN: f"kNN accuracy, k = {k}"},
        {label: label for label in lines_of(found)},
        title="Probes of frozen features by epoch",
        across="epoch of training",
        up="accuracy, %",
        words=words_of(of_knn, str(of_knn["definition"].iloc[0]), found),
    )


def _panels(rows: pd.DataFrame) -> list[Panel]:
    """kNN at the shown k, and the linear probe by the first solver that there is."""
    neighbours, found = knn_points(rows), list[Panel]()
    if (k := shown_k(neighbours)) is not None:
        found.append(Panel(f"kNN accuracy (k = {k})", KNN, neighbours[k]))
    for solver, points in list(linear_points(rows).items())[:1]:
        found.append(Panel(f"linear accuracy ({solver})", LINEAR, points))
    return found
