"""The results of `eval` for a terminal."""

from __future__ import annotations

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from stmbench.analyses.eval.figures import PERCENT
from stmbench.analyses.registry import View
from stmbench.errors import TableError
from stmbench.figures.plot_data import points
from stmbench.reporting.interval_cell import interval_cell
from stmbench.tables.labels import weights_text

HEADINGS = {
    "accuracy": "top-1 %",
    "accuracy_top5": "top-5 %",
    "calibration_error": "ECE %",
    "nll": "NLL",
    "brier": "Brier",
    "accuracy_difference": "to control",
}


def evaluation_table(frame: pd.DataFrame) -> Table:
    """One row for each model, with 95 % intervals. Raises TableError where the table has no evaluation."""
    chosen = frame[frame["analysis"] == "eval"]
    chosen.attrs = frame.attrs
    metrics = [name for name in HEADINGS if ((chosen["metric"] == name) & chosen["value"].notna()).any()]
    if not metrics:
        raise TableError("rows of the analysis 'eval'", "none", "run `stmbench eval`")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, caption_justify="left", show_edge=False)
    table.add_column("model", min_width=11, max_width=30, overflow="fold")
    for metric in metrics:
        table.add_column(HEADINGS[metric], justify="right", no_wrap=True)
    cells = {metric: {point.label: point for point in points(chosen, metric)} for metric in metrics}
    counts = _counts(chosen)
    for label in dict.fromkeys(label for found in cells.values() for label in found):
        row = [found.get(label) for found in cells.values()]
        first = next(point for point in row if point is not None)
        below = [weights_text(first.facts["weights"])]
        below += [f"{counts[first.model, str(first.facts['weights'])]} images"] if len(set(counts.values())) > 1 else []
        name = Text(label)  # not markup: a name may have brackets
        name.append("\n" + " · ".join(below), style="dim")
        table.add_row(
            name,
            *(
                interval_cell(point, factor=100 if metric in PERCENT else 1, digits=1 if metric in PERCENT else 3)
                for metric, point in zip(metrics, row, strict=True)
            ),
        )
    table.caption = Text(_conditions(chosen, counts), style="dim")
    return table


def _counts(frame: pd.DataFrame) -> dict[tuple[str, str], int]:
    """(model, weights) -> images that the accuracy stands on: without the corrupt ones."""
    rows = frame[(frame["metric"] == "accuracy") & frame["value"].notna()]
    names = zip(rows["model"].astype(str), rows["weights"].astype(str), strict=True)
    return dict(zip(names, map(int, rows["num_images"]), strict=True))


def _conditions(frame: pd.DataFrame, counts: dict[tuple[str, str], int]) -> str:
    words = []
    for column, unit in (("dataset", ""), ("split", ""), ("resolution", " px"), ("dtype", ""), ("device", "")):
        values = list(dict.fromkeys(frame[column].dropna()))
        if len(values) == 1:
            words.append(f"{str(values[0]).partition(':')[0] if column == 'dataset' else values[0]}{unit}")
    same = set(counts.values())
    words += [f"{same.pop()} images"] if len(same) == 1 else []
    return " · ".join([*words, "95 % intervals"])


def terminal(view: View) -> Table:
    """What the command prints. Raises TableError where the rows hold nothing to show."""
    return evaluation_table(view.rows)
