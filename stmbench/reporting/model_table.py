"""From points to a table of models: one row for each label, one column for each metric and place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import pandas as pd

from stmbench.errors import TableError
from stmbench.figures.groups import within
from stmbench.figures.plot_data import Point, points
from stmbench.reporting.caveats import listed
from stmbench.reporting.content import Cell, Column, Row, Table
from stmbench.tables.labels import display, number, weights_text

MOST: Final = 3  # settings with a sentence, models with a name


class Measured(NamedTuple):
    """One column: its heading and unit, the metric its numbers are shown as, and its points."""

    column: Column
    metric: str
    points: Sequence[Point]


def measured(frame: pd.DataFrame, metric: str, heading: str = "", unit: str | None = None) -> Measured:
    """The column of a metric's summaries; without points where the table has none of it."""
    shown = display(metric)
    column = Column(heading=heading or _capital(shown.name), unit=shown.unit if unit is None else unit)
    return Measured(column, metric, points_of(frame, metric))


def points_of(frame: pd.DataFrame, metric: str) -> list[Point]:
    """`points`, or none where the table has none: a report shows what there is."""
    try:
        return points(frame, metric)
    except TableError:
        return []


def by_model(name: str, title: str, columns: Sequence[Measured], *, note: str = "") -> Table | None:
    """A row for each label, in the order of the columns' points; None where no column has a point."""
    filled = [column for column in columns if column.points]
    first: dict[str, Point] = {}
    for column in filled:
        for point in column.points:
            first.setdefault(point.label, point)
    if not first:
        return None
    cells = [{point.label: cell(point, column.metric) for point in column.points} for column in filled]
    dash = Cell(text="–")
    lines = [
        Row(
            cells=(Cell(text=label, detail=weights(point)), *(of_column.get(label, dash) for of_column in cells)),
            key=point.key,
        )
        for label, point in first.items()
    ]
    heads = (Column(heading="Model", is_number=False), *(column.column for column in filled))
    return Table(name=name, title=title, columns=heads, lines=tuple(lines), note=note)


def cell(point: Point, metric: str) -> Cell:
    """A value with its interval below it; an asterisk where it is imprecise, inconclusive or breaks a check."""
    detail = ""
    if point.errors is not None:
        detail = f"{number(point.low, metric)} to {number(point.high, metric)}"
    elif point.rounds is not None:
        return Cell(text=number(point.value, metric), detail=point.rounds, value=point.value)
    return Cell(text=number(point.value, metric) + ("" if point.resolved else "*"), detail=detail, value=point.value)


def weights(point: Point) -> str:
    """'random init', or where the weights are from."""
    return weights_text(point.facts["weights"] or "")


def conditions(frame: pd.DataFrame) -> str:
    """What all rows with a value share: 'photos · test · 56 images · 224 px · fp32 · cpu'."""
    rows, words = frame[frame["value"].notna()], []
    for column, text in (("dataset", "{}"), ("split", "{}"), ("num_images", "{} images"), ("resolution", "{} px"),
                         ("dtype", "{}"), ("device", "{}")):  # fmt: skip
        values = list(dict.fromkeys(rows[column].dropna()))
        if len(values) == 1:
            said = text.format(str(values[0]).partition(":")[0] if column == "dataset" else values[0])
            words.append("1 image" if said == "1 images" else said)
    return " · ".join(words)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def best(points: list[Point], metric: str, *, words: str = "accuracy") -> str:
    """'A has the highest accuracy of 5: 98.1 % (97.0 to 99.0); its interval overlaps that of B.'

    A sentence for each setting. How often random weights are right is no result: they lead nothing, which is said.
    """
    no_result = [point for point in points if metric == "accuracy" and point.is_untrained]
    groups = list(within(point for point in points if point not in no_result).values())
    mixed = len({group[0].is_untrained for group in groups}) > 1
    sentences = [_best_of(group, metric, words, mixed=mixed) for group in groups[:MOST]]
    if len(groups) > MOST:
        sentences.append(f"{len(groups) - MOST} more settings are in the table.")
    if no_result:
        names = list(dict.fromkeys(point.name for point in no_result))
        who = listed(names) if len(names) <= MOST else f"{len(names)} models"
        sentences.append(f"{who} {'has' if len(names) == 1 else 'have'} random weights, whose {words} is no result.")
    return " ".join(sentences) or f"No {words} was measured."


def _best_of(points: Sequence[Point], metric: str, words: str, *, mixed: bool) -> str:
    """The sentence on the points of one setting, which labels name where there are several.

    Args:
        mixed: whether others are trained where these are not, or the other way round.
    """
    ranked = sorted(points, key=lambda point: -point.value)
    first = ranked[0]
    words = f"{words} {'without' if first.is_untrained else 'after'} training" if mixed else words
    spread = f" ({number(first.low, metric)} to {number(first.high, metric)})" if first.errors is not None else ""
    value = f"{number(first.value, metric)} %{spread}"
    if len(ranked) == 1:
        return f"{first.label}: {words} {value}."
    if first.value == ranked[-1].value:
        return f"All {len(ranked)} models have the same {words}: {value}."
    text = f"{first.label} has the highest {words} of {len(ranked)}: {value}"
    if first.errors is None:
        return f"{text}."
    near = [point for point in ranked[1:] if point.errors is not None and point.high >= first.low]
    if not near:
        return f"{text}, clear of all others' intervals."
    who = near[0].label if len(near) == 1 else f"{len(near)} others"
    return f"{text}; its interval overlaps that of {who}."
