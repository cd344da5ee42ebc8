"""A cell of a terminal table: a value, and its interval below it."""

from __future__ import annotations

from rich.text import Text

from stmbench.figures.plot_data import Point


def interval_cell(point: Point | None, *, factor: float = 100, digits: int = 1, mark: str = "") -> Text:
    """The value times `factor` and the ends of its interval, dim; a dash where there is none.

    Args:
        mark: what follows the value, for a note below the table.
    """
    if point is None:
        return Text("–")
    text = Text(f"{point.value * factor:.{digits}f}{mark}")
    if point.errors is not None:
        text.append(f"\n{point.low * factor:.{digits}f}–{point.high * factor:.{digits}f}", style="dim")
    return text
