"""What is left under attack, as a table for a terminal."""

from __future__ import annotations

from typing import Final

import pandas as pd
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from stmbench.analyses.registry import View
from stmbench.analyses.robustness.figures import METRICS, attack_words, eps_words, panels_of, place_of, place_words
from stmbench.errors import TableError
from stmbench.figures.plot_data import Point, labels
from stmbench.reporting.interval_cell import interval_cell
from stmbench.tables.labels import are_random

SIGNIFICANT: Final = 0.05
SHOWN: Final = 6  # lines below the table


def robustness_table(frame: pd.DataFrame) -> Group:
    """One row per attack and model, a column for each eps: the share in %, and its 95 % interval; notes below.

    Raises TableError where the table has nothing of the analysis 'robustness'.
    """
    chosen = frame[frame["analysis"] == "robustness"]
    chosen.attrs = frame.attrs
    metric = next(
        (name for name in METRICS if ((chosen["metric"] == name) & (chosen["kind"] == "summary")).any()), None
    )
    if metric is None:
        raise TableError("rows of the analysis 'robustness'", "none", "run `stmbench robustness`")
    panels = panels_of(chosen, metric)
    places = sorted({place_of(point) for points in panels.values() for point in points})
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("attack", max_width=18, overflow="fold")
    table.add_column("model", min_width=10, max_width=26, overflow="fold")
    for place in places:
        table.add_column(place_words(place), justify="right", no_wrap=True)
    for title, points in panels.items():
        for number, label in enumerate(dict.fromkeys(point.label for point in points)):
            of_model = {place_of(point): point for point in points if point.label == label}
            cells = [_marked(of_model.get(place)) for place in places]
            table.add_row(Text(title if number == 0 else ""), Text(label), *cells)
        table.add_section()
    # below it rather than its caption, which would be broken at the table's width
    return Group(table, Text("\n".join([_conditions(chosen, metric), *_notes(chosen)]), style="dim"))


def _conditions(frame: pd.DataFrame, metric: str) -> str:
    """What all rows share: 'photos · test · 56 images · 224 px · fp32 · cpu · random init'."""
    rows = frame[(frame["metric"] == metric) & (frame["kind"] == "summary")]
    words = []
    for column, text in (("dataset", "{}"), ("split", "{}"), ("num_images", "{} images"), ("resolution", "{} px"),
                         ("dtype", "{}"), ("device", "{}")):  # fmt: skip
        values = rows[column].dropna().unique()
        if len(values) == 1:
            words.append(text.format(str(values[0]).partition(":")[0] if column == "dataset" else values[0]))
    if are_random(rows["weights"]).all():
        words.append("random init")
    if metric == "consistency":
        words.append("no labels: the models' own predictions are attacked")
    return " · ".join([*words, f"{metric} in %, 95 % intervals"])


def _notes(frame: pd.DataFrame) -> list[str]:
    notes = []
    if (frame["status"] == "suspect").any():
        notes.append("* suspect: it breaks a check of validity, see the reasons in the rows")
    return [*notes, *_differences(frame)]


def _differences(frame: pd.DataFrame) -> list[str]:
    """Pairs of models that McNemar's test tells apart, the surest first."""
    tests = frame[(frame["metric"] == "mcnemar_p_holm") & frame["value"].notna()]
    if tests.empty:
        return []
    sure = tests[tests["value"] < SIGNIFICANT].sort_values("value", kind="stable")
    pairs = tests[["model", "baseline"]].drop_duplicates()
    counted = f"{len(tests)} comparisons of {len(pairs)} pair{'s' * (len(pairs) > 1)} of models"
    lines = [f"McNemar's test, Holm's p < {SIGNIFICANT}: {len(sure)} of {counted}"]
    names = labels(frame)
    for row in sure.head(SHOWN).to_dict("records"):
        where = f"{attack_words(row['definition'])}, {eps_words(row['level'])}"
        lines.append(f"  {names[row['model']]} against {names[row['baseline']]}: p = {row['value']:.2g} ({where})")
    return [*lines, *(["  ..."] if len(sure) > SHOWN else [])]


def terminal(view: View) -> Group:
    """What the command prints. Raises TableError where the rows hold nothing to show."""
    return robustness_table(view.rows)


def _marked(point: Point | None) -> Text:
    return interval_cell(point, mark="" if point is None or point.resolved else "*")
