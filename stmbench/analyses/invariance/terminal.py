"""Invariance as a table for a terminal: a few levels, and the area under the curve."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from stmbench.analyses.invariance.figures import PREFIX
from stmbench.analyses.registry import View
from stmbench.errors import TableError
from stmbench.figures.plot_data import labels
from stmbench.tables.labels import weights_text

SHOWN: Final = {  # metric -> (heading, factor, digits)
    "consistency": ("consistency %", 100, 1),
    "consistency_on_correct": ("where right %", 100, 1),
    "accuracy": ("top-1 %", 100, 1),
    "soft_cross_entropy": ("soft CE, nats", 1, 3),
}
MOST: Final = 4  # levels in the table; all of them are in the store
UNITS: Final = {"translation": " px", "rotation": "°", "scale": ""}


def invariance_table(frame: pd.DataFrame) -> Group:
    """One row for each model and metric. Raises TableError where the table has no invariance."""
    rows = frame[frame["analysis"].str.startswith(PREFIX) & (frame["kind"] == "summary")]
    good = rows[rows["value"].notna()]
    if good.empty:
        raise TableError("rows of an analysis of invariance", "none", "run `stmbench invariance translation`")
    kind = str(good["analysis"].iloc[0]).removeprefix(PREFIX)
    known = np.array(sorted(good.loc[good["metric"] == "consistency", "level"].unique()))
    # a level is of use where every model supplies it; spread over the range
    levels = [float(known[place]) for place in np.unique(np.linspace(0, len(known) - 1, MOST).round().astype(int))]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("model", min_width=11, max_width=24, overflow="fold")
    table.add_column("metric", no_wrap=True)
    for level in levels:
        table.add_column(f"{level:g}{UNITS[kind]}", justify="right", no_wrap=True)
    table.add_column("area", justify="right", no_wrap=True)
    names = labels(frame)
    for (model, weights), of_model in good.groupby(["model", "weights"], sort=False):
        first = True
        for metric, (words, factor, digits) in SHOWN.items():
            of_metric = of_model[of_model["metric"] == metric].set_index("level")
            if of_metric.empty:
                continue
            area = of_model[of_model["metric"] == f"{metric}_auc"]
            cells = [_cell(of_metric.loc[[level]] if level in of_metric.index else area[:0], factor, digits)
                     for level in levels]  # fmt: skip
            name = Text(names[str(model)])  # not markup: a name may have brackets
            name.append(f"\n{weights_text(weights)}", style="dim")
            table.add_row(name if first else Text(), Text(words), *cells, _cell(area, factor, digits))
            first = False
    lines = [Text(_conditions(good), style="dim")]
    lines += [Text(f"left out: {line}", style="yellow") for line in _left_out(rows)]
    return Group(table, *lines)


def _cell(rows: pd.DataFrame, factor: float, digits: int) -> Text:
    if rows.empty:
        return Text("–")
    row = rows.iloc[-1]
    text = Text(f"{row['value'] * factor:.{digits}f}")
    if not pd.isna(row["ci_low"]):
        text.append(f"\n{row['ci_low'] * factor:.{digits}f}–{row['ci_high'] * factor:.{digits}f}", style="dim")
    return text


def _conditions(rows: pd.DataFrame) -> str:
    data = "/".join(dict.fromkeys(str(name).partition(":")[0] for name in rows["dataset"].dropna()))
    images = "/".join(str(count) for count in dict.fromkeys(rows["num_images"].dropna()))
    definition = "/".join(dict.fromkeys(rows["definition"]))
    reach = rows.loc[rows["metric"] == "consistency", "level"]
    span = f"area under the curve from {reach.min():g} to {reach.max():g}, over its range"
    return f"{data} · {images} images · 95 % intervals · {definition} · {span}"


def _left_out(rows: pd.DataFrame) -> list[str]:
    """A line on the levels that not every image supplies."""
    skipped = rows[rows["status"] == "skipped"]
    if skipped.empty:
        return []
    levels = sorted(skipped["level"].unique())
    models = len(skipped["model"].unique())
    which = "a model" if models == 1 else f"{models} models"
    shown = f"{levels[0]:g}" if len(levels) == 1 else f"{levels[0]:g} to {levels[-1]:g}"
    return [f"levels {shown} of {which}: not every image reaches so far; --pad reflect goes beyond its edge"]


def terminal(view: View) -> Group:
    """What the command prints. Raises TableError where the rows hold nothing to show."""
    return invariance_table(view.rows)
