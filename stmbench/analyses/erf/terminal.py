"""Effective receptive fields as a table for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from stmbench.analyses.erf.figures.maps import beyond_the_image, erf_rows
from stmbench.analyses.erf.options import OURS
from stmbench.analyses.registry import View
from stmbench.errors import TableError
from stmbench.figures.plot_data import labels
from stmbench.tables.labels import weights_text

STAGES_ABREAST = 5  # more would leave a terminal of 80 columns no room for the models' names


def erf_table(frame: pd.DataFrame, definition: str) -> Group:
    """One row for each model and percentage, a column for each stage. Raises TableError where there is nothing."""
    rows = erf_rows(frame, definition)
    if rows.empty:
        raise TableError(f"rows of the analysis 'erf' by {definition}", "none", "run `stmbench erf`")
    stages = sorted(rows["stage"].dropna().unique())
    percents = sorted(rows["level"].unique())
    names = labels(frame)
    count = -(-len(stages) // STAGES_ABREAST)
    tables = [_table(rows, list(some), percents, names) for some in np.array_split(stages, count)]
    what = f"ERF@{percents[0]:g}" if len(percents) == 1 else "ERF"
    images = "/".join(str(count) for count in dict.fromkeys(rows["num_images"].dropna()))
    data = "/".join(dict.fromkeys(str(name).partition(":")[0] for name in rows["dataset"].dropna()))
    text = (
        f"{what}, side of the square over the input's side · {data} · {images} images · 95 % intervals · {definition}"
    )
    notes = [note for note in (text, beyond_the_image(rows)) if note]
    return Group(*tables, Text("\n".join(notes), style="dim"))


def _table(rows: pd.DataFrame, stages: list[Any], percents: list[float], names: Mapping[str, str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("model", min_width=11, max_width=28, overflow="fold")
    if len(percents) > 1:
        table.add_column("mass %", justify="right")
    for stage in stages:
        table.add_column(f"stage {int(stage) + 1}", justify="right", no_wrap=True)
    for (model, weights), of_model in rows.groupby(["model", "weights"], sort=False):
        name = Text(names[str(model)])  # not markup: a name may have brackets
        name.append("\n" + weights_text(weights), style="dim")
        for percent in percents:
            chosen = of_model[of_model["level"] == percent].set_index("stage")
            cells = [_cell(chosen.loc[stage]) if stage in chosen.index else Text("–") for stage in stages]
            first = [name if percent == percents[0] else Text("")]
            table.add_row(*first, *([Text(f"{percent:g}")] if len(percents) > 1 else []), *cells)
    return table


def _cell(row: pd.Series) -> Text:
    text = Text(f"{row['value']:.3f}")
    if not pd.isna(row["ci_low"]):
        text.append(f"\n{row['ci_low']:.3f}–{row['ci_high']:.3f}", style="dim")
    return text


def terminal(view: View) -> Group:
    """What the command prints. Raises TableError where the rows hold nothing to show."""
    return erf_table(view.rows, view.definition or OURS)
