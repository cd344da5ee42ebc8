"""The results of `detection` for a terminal."""

from __future__ import annotations

from typing import Final

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from stmbench.analyses.registry import View
from stmbench.errors import TableError
from stmbench.figures.plot_data import points
from stmbench.reporting.interval_cell import interval_cell
from stmbench.tables.labels import weights_text

HEADINGS: Final = {
    "box_ap": "box AP",
    "box_ap50": "AP50",
    "box_ap75": "AP75",
    "mask_ap": "mask AP",
    "box_ap_small": "small",
    "box_ap_medium": "medium",
    "box_ap_large": "large",
    "box_ap_difference": "to control",
}


def detection_table(frame: pd.DataFrame) -> Table:
    """One row for each detector, with 95 % intervals. Raises TableError where the table has no detection."""
    chosen = frame[(frame["analysis"] == "detection") & (frame["kind"] == "summary")]
    chosen.attrs = frame.attrs
    metrics = [name for name in HEADINGS if ((chosen["metric"] == name) & chosen["value"].notna()).any()]
    if not metrics:
        raise TableError("rows of the analysis 'detection'", "none", "run `stmbench detection`")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, caption_justify="left", show_edge=False)
    table.add_column("detector", min_width=11, max_width=34, overflow="fold")
    for metric in metrics:
        table.add_column(HEADINGS[metric], justify="right", no_wrap=True)
    cells = {metric: {point.label: point for point in points(chosen, metric)} for metric in metrics}
    for label in dict.fromkeys(label for found in cells.values() for label in found):
        row = [found.get(label) for found in cells.values()]
        first = next(point for point in row if point is not None)
        name = Text(label)  # not markup: a name may have brackets
        name.append(f"\n{weights_text(first.facts['weights'])}", style="dim")
        table.add_row(name, *map(interval_cell, row))
    counts = sorted({int(count) for count in chosen["num_images"].dropna()})
    images = " to ".join(f"{count:,}" for count in {counts[0]: 0, counts[-1]: 0}) if counts else "no"
    table.caption = Text(f"{images} images; AP in %, with 95 % intervals over images", style="dim")
    return table


def terminal(view: View) -> Table:
    """What the command prints. Raises TableError where the rows hold nothing to show."""
    return detection_table(view.rows)
