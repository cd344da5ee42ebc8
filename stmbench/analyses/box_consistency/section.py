"""Box consistency as a section of a report, and as a table for a terminal."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from rich import box
from rich.console import Group
from rich.table import Table as TerminalTable
from rich.text import Text

from stmbench.analyses.box_consistency.figures import PREFIX, box_figures
from stmbench.analyses.registry import View
from stmbench.errors import TableError
from stmbench.figures.plot_data import Point, points_of
from stmbench.reporting.caveats import caveats
from stmbench.reporting.content import Caveat, Definition, Formula, Plot, Section
from stmbench.reporting.interval_cell import interval_cell
from stmbench.reporting.metrics_table import metrics_table
from stmbench.reporting.model_table import best, by_model, conditions, measured
from stmbench.tables.labels import weights_text

DEFINITION: Final = Definition(
    text="Whether a detector finds the same boxes when the image is scaled, turned or shifted. The ground truth is its "
    "boxes in the image as it is, x, with a score of at least the threshold; the detections are all its boxes in the "
    "transformed image x_t, mapped back. The floor shows the detector, at its own size, the pixels that are left at "
    "that scale: what is lost there is lost before the network.",
    formulas=(
        Formula(quantity="box consistency(t)", equals="COCO's AP of the boxes in x_t, those in x being the objects"),
        Formula(quantity="floor(s)", equals="the same of x resized to scale s and back to scale 1"),
        Formula(quantity="padding(s)", equals="mean over images of 1 − pixels of the image / pixels of the input"),
    ),
    source="Hu et al., section 6.2.3 and Fig. 7; intervals: percentiles over resampled images",
    page="docs/definitions/invariance.md",
)
SHOWN: Final = {"box_consistency": "consistency %", "box_consistency_floor": "resized pixels %", "box_ap": "box AP %"}
UNITS: Final = {"translation": " px", "rotation": "°", "scale": ""}
MOST: Final = 5  # levels in the terminal's table
EACH_LEVEL: Final = (*SHOWN, "padding_share")


def box_section(frame: pd.DataFrame) -> Section:
    """The section of one analysis 'box_consistency_<kind>'."""
    name = str(frame["analysis"].iloc[0])
    kind = name.removeprefix(PREFIX)
    shows = f"What is measured at each level of {kind}; bands are 95 % intervals over images."
    if kind == "scale":
        shows += " Dashed and grey: the pixels of that scale, shown to the detector at its own size."
    measure = "Consistency is relative to what each detector finds itself: one that finds little can be consistent."
    plots = tuple(
        Plot(name=plot, figure=figure, title=f"Box consistency: {kind}", shows=shows, measured=measure)
        for plot, figure in box_figures(frame).items()
    )
    columns = [measured(frame, metric) for metric in ("box_consistency_auc", "box_consistency_floor_auc",
                                                      "ground_truth_boxes")]  # fmt: skip
    note = "Means over the range of levels; small numbers are 95 % intervals."
    tables = (
        by_model(f"{name}-areas", "Areas under the curves", columns, note=note),
        metrics_table(f"{name}-all-levels", "Every level", frame, EACH_LEVEL, note="Small numbers are 95 % intervals."),
        metrics_table(f"{name}-differences", "Differences to the control", frame, ("box_consistency_difference",),
                      note="On the same images; small numbers are 95 % intervals."),
    )  # fmt: skip
    return Section(
        name=name,
        heading=f"Box consistency: {kind}",
        lead=best(points_of(frame, "box_consistency_auc"), "box_consistency_auc", words="mean box consistency"),
        conditions=conditions(frame),
        plots=plots,
        tables=tuple(table for table in tables if table is not None),
        definition=DEFINITION,
        caveats=(*caveats(frame), *(Caveat(kind="note", text=text) for text in left_out(frame))),
    )


def left_out(frame: pd.DataFrame) -> list[str]:
    """A line for each level that was not measured, and why."""
    skipped = frame[(frame["metric"] == "box_consistency") & (frame["status"] == "skipped")]
    pairs = skipped[["level", "reason"]].drop_duplicates().sort_values("level")
    return [f"scale {level:g}: {reason}" for level, reason in pairs.itertuples(index=False)]


def box_table(frame: pd.DataFrame) -> Group:
    """One row for each model and metric. Raises TableError where the table has no box consistency."""
    rows = frame[frame["analysis"].str.startswith(PREFIX)]
    rows.attrs = frame.attrs
    found = points_of(rows, "box_consistency")
    if not found:
        raise TableError("rows of box consistency", "none", "run `stmbench invariance scale` with detectors")
    unit = UNITS[found[0].analysis.removeprefix(PREFIX)]
    known = np.array(sorted({point.level for point in found}))
    levels = [float(known[place]) for place in np.unique(np.linspace(0, len(known) - 1, MOST).round().astype(int))]
    table = TerminalTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("detector", min_width=11, max_width=28, overflow="fold")
    table.add_column("metric", no_wrap=True)
    for level in levels:
        table.add_column(f"{level:g}{unit}", justify="right", no_wrap=True)
    table.add_column("area", justify="right", no_wrap=True)
    told: set[str] = set()
    cells: dict[str, dict[tuple[str, float | None], Point]] = {}
    for metric in SHOWN:
        for point in points_of(rows, metric):
            cells.setdefault(point.label, {})[metric, point.level] = point
        for point in points_of(rows, f"{metric}_auc"):
            cells.setdefault(point.label, {})[metric, None] = point
    for label, of_label in cells.items():
        for metric, words in SHOWN.items():
            if not any(name == metric for name, _ in of_label):
                continue
            name = Text("" if label in told else label)  # not markup: a name may have brackets
            if label not in told:
                first = next(iter(of_label.values()))
                name.append(f"\n{weights_text(first.facts['weights'])}", style="dim")
            told.add(label)
            table.add_row(
                name, Text(words), *(interval_cell(of_label.get((metric, level))) for level in (*levels, None))
            )
    boxes = points_of(rows, "ground_truth_boxes")
    counts = "/".join(f"{point.value:.0f}" for point in boxes)
    facts = f"{conditions(rows)} · 95 % intervals · {found[0].facts['definition']} · {found[0].condition}"
    lines = [Text(f"{facts} · {counts} boxes to find again", style="dim")]
    lines += [Text(f"left out: {line}", style="yellow") for line in left_out(rows)]
    return Group(table, *lines)


def section(view: View) -> Section:
    """The section of a report."""
    return box_section(view.rows)


def terminal(view: View) -> Group:
    """What the command prints. Raises TableError where the rows hold nothing to show."""
    return box_table(view.rows)
