"""The results of `corruption` for a terminal: a row for each model, families rather than all fifteen corruptions."""

from __future__ import annotations

from typing import Final

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from stmbench.analyses.corruption.options import CLEAN, CORRUPTIONS, FAMILIES, overall, title
from stmbench.analyses.registry import View
from stmbench.errors import TableError
from stmbench.figures.plot_data import Point, labels, points
from stmbench.reporting.interval_cell import interval_cell
from stmbench.tables.labels import weights_text

MOST: Final = 6  # columns of single corruptions; a larger selection has its mean alone


def terminal(view: View) -> Table:
    """What the command prints, in per cent with 95 % intervals. Raises TableError where there is nothing to show."""
    rows = view.rows[view.rows["analysis"] == "corruption"]
    rows.attrs = view.rows.attrs
    columns = summary_columns(rows)
    if not any(heading != "clean" for heading in columns):
        raise TableError("rows of the analysis 'corruption'", "none", "run `stmbench corruption`")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, caption_justify="left", show_edge=False)
    table.add_column("model", min_width=11, max_width=24, overflow="fold")
    for heading in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    cells = [{point.label: point for point in found} for found in columns.values()]
    for label in dict.fromkeys(label for column in cells for label in column):
        row = [column.get(label) for column in cells]
        first = next(point for point in row if point is not None)
        name = Text(label)  # not markup: a name may have brackets
        name.append(f"\n{weights_text(first.facts['weights'])}", style="dim")
        table.add_row(name, *(interval_cell(point) for point in row))
    table.caption = Text(_caption(rows, columns), style="dim")
    return table


def summary_columns(rows: pd.DataFrame) -> dict[str, list[Point]]:
    """Heading -> points: clean, families (or the few corruptions of a selection), the mean, mCE and relative mCE."""
    means = _points(rows, "mean_accuracy")
    by_condition: dict[str | None, list[Point]] = {}
    for point in means:
        by_condition.setdefault(point.condition, []).append(point)
    shown = [name for name in CORRUPTIONS if name in by_condition]
    whole = overall(shown)
    families = [name for name in FAMILIES if name in by_condition]
    single = [name for name in shown if not any(name in FAMILIES[family] for family in families)]
    single = single if len(single) <= MOST else []
    columns = {"clean": [point for point in _points(rows, "accuracy") if point.condition == CLEAN]}
    columns |= {title(name).lower(): by_condition[name] for name in (*families, *single)}
    if len(shown) > 1 and whole not in families:
        columns["mean"] = by_condition.get(whole, [])
    columns["mCE"] = _points(rows, "mean_corruption_error")
    columns["relative mCE"] = _points(rows, "relative_mean_corruption_error")
    return {heading: column for heading, column in columns.items() if column}


def _points(rows: pd.DataFrame, metric: str) -> list[Point]:
    try:
        return points(rows, metric)
    except TableError:
        return []


def _caption(rows: pd.DataFrame, columns: dict[str, list[Point]]) -> str:
    words = []
    for column, unit in (("dataset", ""), ("split", ""), ("resolution", " px"), ("num_images", " images"),
                         ("dtype", ""), ("device", ""), ("definition", "")):  # fmt: skip
        values = list(dict.fromkeys(rows[column].dropna()))
        if len(values) == 1:
            words.append(f"{str(values[0]).partition(':')[0] if column == 'dataset' else values[0]}{unit}")
    names = labels(rows)
    baselines = dict.fromkeys(str(point.baseline) for point in columns.get("mCE", []))
    against = [f"errors in % of those of {'/'.join(names.get(one, one) for one in baselines)}"] if baselines else []
    return " · ".join(["top-1 accuracy in %, mean over severities", *against, *words, "95 % intervals"])
