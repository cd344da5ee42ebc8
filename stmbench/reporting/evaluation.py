"""The results of `eval` for a terminal."""

from __future__ import annotations

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from stmbench.errors import TableError
from stmbench.figures.points import summaries

UNTRAINED = "random:"
HEADINGS = {
    "accuracy": "top-1 %",
    "accuracy_top5": "top-5 %",
    "calibration_error": "ECE %",
    "nll": "NLL",
    "brier": "Brier",
}
PERCENT = ("accuracy", "accuracy_top5", "calibration_error")


def evaluation_table(frame: pd.DataFrame) -> Table:
    """One row for each model, with 95 % intervals. Raises TableError where the table has no evaluation."""
    chosen = frame[frame["analysis"] == "eval"]
    if chosen.empty:
        raise TableError("rows of the analysis 'eval'", "none", "run `stmbench eval`")
    metrics = [metric for metric in HEADINGS if (chosen["metric"] == metric).any()]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, caption_justify="left", show_edge=False)
    table.add_column("model", min_width=12, max_width=28, overflow="fold")
    table.add_column("weights", max_width=20, overflow="fold")
    table.add_column("images", justify="right")
    for metric in metrics:
        table.add_column(f"{HEADINGS[metric]}\n95 % interval", justify="right", no_wrap=True)
    found = {metric: summaries(chosen, metric).set_index("model") for metric in metrics}
    for model in dict.fromkeys(chosen["model"]):
        rows = {metric: table_.loc[model] for metric, table_ in found.items() if model in table_.index}
        if not rows:
            continue  # it failed; the reason is said elsewhere
        first = next(iter(rows.values()))
        weights = str(first["weights"])
        cells = [_cell(metric, rows.get(metric)) for metric in metrics]
        table.add_row(
            Text(str(model)),  # not markup: a name may have brackets
            Text("random init" if weights.startswith(UNTRAINED) else weights),
            str(first["num_images"]),
            *cells,
        )
    table.caption = Text(_conditions(chosen), style="dim")
    return table


def _cell(metric: str, row: pd.Series | None) -> Text:
    if row is None:
        return Text("–")
    factor, digits = (100, 1) if metric in PERCENT else (1, 3)
    text = Text(f"{row['value'] * factor:.{digits}f}")
    if pd.notna(row["ci_low"]):
        text.append(f"\n{row['ci_low'] * factor:.{digits}f}–{row['ci_high'] * factor:.{digits}f}", style="dim")
    return text


def _conditions(frame: pd.DataFrame) -> str:
    words = []
    for column, unit in (("dataset", ""), ("split", ""), ("resolution", " px"), ("dtype", ""), ("device", "")):
        values = list(dict.fromkeys(frame[column].dropna()))
        if len(values) == 1:
            words.append(f"{values[0]}{unit}")
    return " · ".join(words)
