"""What was counted beside what the paper says of the same models."""

from __future__ import annotations

import pandas as pd

from stmbench.errors import TableError
from stmbench.figures.display_units import display, number
from stmbench.reporting.content import Cell, Column, Line, Table
from stmbench.tables.published import published
from stmbench.tables.published_comparison import compare_with_table3


def published_table(frame: pd.DataFrame) -> Table | None:
    """Parameters and MACs of Table III of Hu et al. beside ours; None where no model of the table was measured."""
    try:
        table = published("stm_table3_imagenet")
        joined = compare_with_table3(frame, table)
    except TableError:
        return None
    mixers = frame.attrs.get("mixers", {})
    lines = []
    for row in joined.to_dict("records"):
        mixer, metric = str(row["mixer"]), str(row["metric"])
        shown = display(metric)
        name = mixers.get(mixer, {}).get("abbreviation", mixer)
        cells = (
            Cell(text=f"{name} {row['scale']}"),
            Cell(text=f"{shown.name}, {shown.unit}"),
            Cell(text=number(row["measured"], metric), value=row["measured"]),
            Cell(text=number(row["published"], metric), value=row["published"]),
            Cell(text=f"{100 * row['difference']:+.2f}", value=row["difference"]),
        )
        lines.append(Line(cells=cells, key=mixer))
    return Table(
        name="published",
        title="Counted here and published",
        columns=(
            Column(heading="Model", is_number=False),
            Column(heading="Quantity", is_number=False),
            Column(heading="Here"),
            Column(heading="Published"),
            Column(heading="Difference", unit="%"),
        ),
        lines=tuple(lines),
        note=f"Published: {table.attrs['source']}. Its rows use three conventions of counting MACs; the column 'here' "
        "follows the one of each row, and so differs from the MACs above. See docs/counting.md.",
    )
