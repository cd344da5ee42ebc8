"""The results of `probe` for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from stmbench.analyses.probe.figures.accuracies import Panel, knn_points, linear_points, of_probes
from stmbench.analyses.probe.options import CHOICE, KNN, LINEAR
from stmbench.analyses.registry import View
from stmbench.errors import TableError
from stmbench.figures.plot_data import Point
from stmbench.reporting.interval_cell import interval_cell
from stmbench.reporting.model_table import conditions
from stmbench.tables.labels import run_and_epoch, weights_text

SETTING: Final = {"sgd": "rate", "logistic": "strength"}  # of a solver, that was chosen


def terminal(view: View) -> Table:
    """What the command prints: a row for each model, in per cent. Raises TableError where there is nothing to show."""
    rows = of_probes(view.rows)
    columns = probed(rows)
    if not columns:
        raise TableError("rows of the analysis 'probe'", "none", "run `stmbench probe`")
    chosen = {solver: {point.label: point for point in found} for solver, found in linear_points(rows, CHOICE).items()}
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, caption_justify="left", show_edge=False)
    table.add_column("model", min_width=11, max_width=26, overflow="fold")
    for column in columns:
        table.add_column(column.heading, justify="right", no_wrap=True)
    cells = [{point.label: point for point in column.points} for column in columns]
    firsts = {label: point for found in reversed(cells) for label, point in found.items()}
    for label in _by_epoch({label: firsts[label] for found in cells for label in found}):
        row, first = [found.get(label) for found in cells], firsts[label]
        weights = weights_text(first.facts["weights"])
        below = [] if weights in label else [weights]
        below += [f"{SETTING[solver]} {found[label].value:g}" for solver, found in chosen.items() if label in found]
        name = Text(label)  # not markup: a name may have brackets
        name.append("\n" + " · ".join(below) if below else "", style="dim")
        table.add_row(name, *map(interval_cell, row))
    table.caption = Text(f"accuracy of the queries in % · {conditions(measured(rows))} · 95 % intervals", style="dim")
    return table


def _by_epoch(points: Mapping[str, Point]) -> list[str]:
    """The labels in their order, but those of one training together and by epoch."""
    runs = {label: run_and_epoch(point.facts["weights"]) for label, point in points.items()}
    trainings = {label: (points[label].model, run[0] if run else label) for label, run in runs.items()}
    places = {training: place for place, training in reversed([*enumerate(trainings.values())])}
    return sorted(points, key=lambda label: (places[trainings[label]], (runs[label] or ("", 0))[1]))


def probed(rows: pd.DataFrame) -> list[Panel]:
    """kNN at each k, then the linear probe by each solver."""
    neighbours = [Panel(f"kNN\nk = {k}", KNN, found) for k, found in knn_points(rows).items()]
    return [*neighbours, *(Panel(f"linear\n{solver}", LINEAR, found) for solver, found in linear_points(rows).items())]


def measured(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of accuracies, whose conditions are those of the queries."""
    chosen = rows[rows["metric"].isin((KNN, LINEAR))]
    chosen.attrs = rows.attrs
    return chosen
