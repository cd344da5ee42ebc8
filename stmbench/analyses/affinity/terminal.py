"""Where mixers look, as a table for a terminal."""

from __future__ import annotations

from typing import Final

import pandas as pd
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from stmbench.analyses.registry import View
from stmbench.errors import TableError
from stmbench.figures.plot_data import labels
from stmbench.tables.labels import are_random

HEADINGS: Final = {  # metric -> heading, factor, digits
    "attention_distance": ("distance\npx", 1, 1),
    "affinity_entropy": ("entropy\nbit", 1, 2),
    "mass_within": ("within\n{} tokens %", 100, 1),
    "self_weight": ("self\n%", 100, 1),
    "centroid_offset": ("offset\npx", 1, 1),
    "padding_mass": ("padding\n%", 100, 1),
    "static_agreement": ("agree-\nment", 1, 2),
    "alpha": ("alpha", 1, 2),
    "beta": ("beta", 1, 2),
}


def affinity_table(frame: pd.DataFrame) -> Group:
    """One row for each stage of each model: means over its layers. Raises TableError where there is no affinity."""
    rows = frame[(frame["analysis"] == "affinity") & frame["value"].notna() & frame["head"].isna()]
    if rows.empty:
        raise TableError("rows of the analysis 'affinity'", "none", "run `stmbench affinity`")
    radii = sorted(rows.loc[rows["metric"] == "mass_within", "level"].dropna().unique())
    radius = radii[min(1, len(radii) - 1)] if radii else None
    metrics = [name for name in HEADINGS if (rows["metric"] == name).any()]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("model", min_width=9, max_width=26, overflow="fold")
    table.add_column("stage", justify="right")
    for metric in metrics:
        table.add_column(HEADINGS[metric][0].format(f"{radius:g}" if radius else ""), justify="right", no_wrap=True)
    names = labels(frame)
    near = rows[(rows["metric"] != "mass_within") | (rows["level"] == radius)]
    conditions = rows["condition"].dropna().astype(str)
    is_mixed = conditions.str.startswith("jacobian").nunique() > 1  # some mixers have no affinity of their own
    for model, of_model in near.groupby("model", sort=False):
        parts = list(dict.fromkeys(of_model["condition"].dropna()))
        for part in parts:
            of_part = of_model[of_model["condition"] == part]
            first = True
            for stage, of_stage in of_part.groupby("stage"):
                cells = [_cell(of_stage, metric) for metric in metrics]
                name = f"  {part} part" if part in ("static", "dynamic") else names[str(model)]
                name += " (Jacobian)" if part.startswith("jacobian") and is_mixed else ""
                table.add_row(Text(name if first else ""), Text(str(int(stage) + 1)), *cells)
                first = False
        table.add_section()
    return Group(table, Text(_conditions(rows), style="dim"))


def _cell(rows: pd.DataFrame, metric: str) -> Text:
    values = rows.loc[rows["metric"] == metric, "value"]
    if values.empty:
        return Text("–")
    _, factor, digits = HEADINGS[metric]
    return Text(f"{factor * float(values.mean()):.{digits}f}")


def _conditions(rows: pd.DataFrame) -> str:
    words = []
    for column, text in (("dataset", "{}"), ("split", "{}"), ("num_images", "{} images"), ("resolution", "{} px"),
                         ("dtype", "{}"), ("device", "{}")):  # fmt: skip
        values = rows[column].dropna().unique()
        if len(values) == 1:
            said = text.format(str(values[0]).partition(":")[0] if column == "dataset" else values[0])
            words.append("1 image" if said == "1 images" else said)
    if are_random(rows["weights"]).all():
        words.append("random init")
    of = "layers and chosen positions" if rows["position"].notna().any() else "layers and heads"
    return " · ".join([*words, f"means over {of}"])


def terminal(view: View) -> Group:
    """What the command prints. Raises TableError where the rows hold nothing to show."""
    return affinity_table(view.rows)
