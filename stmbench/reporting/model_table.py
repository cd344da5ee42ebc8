"""Tables of a report: a row for each label and a column for each metric and place, or plainly a row for each value.

An analysis without a section of its own gets the plain table, so nothing is lost.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import pandas as pd

from stmbench.figures.annotations import marks_in
from stmbench.figures.curves import join_trainings
from stmbench.figures.groups import within
from stmbench.figures.plot_data import Point, labels, points_of
from stmbench.reporting.caveats import caveats
from stmbench.reporting.content import Cell, Column, Row, Section, Table
from stmbench.tables.labels import LEARNED, listed, weights_text
from stmbench.tables.rows import Display, display, number

MOST: Final = 3  # settings with a sentence, models with a name


class Measured(NamedTuple):
    """One column: its heading and unit, the metric its numbers are shown as, and its points."""

    column: Column
    metric: str
    points: Sequence[Point]


def measured(frame: pd.DataFrame, metric: str, heading: str = "", unit: str | None = None) -> Measured:
    """The column of a metric's summaries; without points where the table has none of it."""
    found = points_of(frame, metric)
    shown = display(metric, values=[point.value for point in found])
    said = shown.unit if unit is None else unit.format(shown.unit)
    return Measured(Column(heading=heading or _capital(shown.name), unit=said), metric, found)


def by_model(name: str, title: str, columns: Sequence[Measured], *, note: str = "") -> Table | None:
    """A row for each label and weights, in the order of the columns' points; None where no column has a point.

    A label says what tells the points of one metric apart, and metrics differ in that: times of trainings in two batch
    sizes name them, accuracies of which one was measured do not. A point whose label has no row yet belongs to the row
    of the same model and setting, if there is one; points of different weights never share a row.
    """
    filled = [column for column in columns if column.points]
    first: dict[tuple[str, str], Point] = {}
    known: dict[tuple[Any, ...], tuple[str, str]] = {}  # model and setting -> row
    cells: list[dict[tuple[str, str], Cell]] = []
    for column in filled:
        shown = display(column.metric, values=[point.value for point in column.points])
        of_column: dict[tuple[str, str], Cell] = {}
        for point in column.points:
            own, setting = (point.label, weights(point)), (point.model, *point.facts.values())
            row = own if own in first else known.get(setting, own)
            known.setdefault(setting, row)
            first.setdefault(row, point)
            of_column[row] = cell(point, column.metric, shown)
        cells.append(of_column)
    if not first:
        return None
    dash = Cell(text="–")
    lines = [
        Row(
            cells=(Cell(text=row[0], detail=row[1]), *(of_column.get(row, dash) for of_column in cells)),
            model=point.model,
        )
        for row, point in first.items()
    ]
    heads = (Column(heading="Model", is_number=False), *(column.column for column in filled))
    return Table(name=name, title=title, columns=heads, lines=tuple(lines), note=note)


def cell(point: Point | None, metric: str, shown: Display | None = None) -> Cell:
    """A value with its interval below it; an asterisk where it is imprecise, inconclusive or breaks a check.

    Args:
        shown: the unit of its column; default: the metric's.
    """
    if point is None:
        return Cell(text="–")
    detail = ""
    if point.errors is not None:
        detail = f"{number(point.low, metric, shown)} to {number(point.high, metric, shown)}"
    elif point.rounds is not None:
        return Cell(text=number(point.value, metric, shown), detail=point.rounds, value=point.value)
    mark = "" if point.resolved else "*"
    return Cell(text=number(point.value, metric, shown) + mark, detail=detail, value=point.value)


def weights(point: Point) -> str:
    """'random init', or where the weights are from."""
    return weights_text(point.facts["weights"] or "")


def conditions(frame: pd.DataFrame) -> str:
    """What all rows with a value share: 'photos · test · 56 images · 224 px · fp32 · cpu'."""
    texts = {"dataset": "{}", "split": "{}", "num_images": "{} images", "resolution": "{} px", "dtype": "{}",
             "device": "{}"}  # fmt: skip
    rows, words = frame.loc[frame["value"].notna(), list(texts)], []
    for column, text in texts.items():
        values = rows[column].dropna().unique().tolist()
        if len(values) == 1:
            said = text.format(str(values[0]).partition(":")[0] if column == "dataset" else values[0])
            words.append("1 image" if said == "1 images" else said)
    return " · ".join(words)


def _capital(text: str) -> str:
    return text if text[1:2].isupper() else text[:1].upper() + text[1:]  # kNN


def best(points: list[Point], metric: str, *, words: str = "accuracy") -> str:
    """'A has the highest accuracy of 5: 98.1 % (97.0 to 99.0); its interval overlaps that of B.'

    A sentence for each setting, on means over trainings that differ in their seed, as figures have them. What random
    weights are worth is no result: they lead nothing, which is said.
    """
    points = join_trainings(points)
    no_result = [point for point in points if metric in LEARNED and point.is_untrained]
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
    seeds = f" on average over {first.trainings} seeds" if first.trainings > 1 else ""
    value = f"{number(first.value, metric)} %{spread}{seeds}"
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


PLACES: Final = ("weights", "dataset", "split", "device", "dtype", "resolution", "batch_size", "stage", "block", "head",
                 "position", "baseline", "condition", "level", "step", "definition")  # fmt: skip
MOST_ROWS: Final = 500  # of a plain table


def generic_section(frame: pd.DataFrame, everything: pd.DataFrame, *, heading: str | None = None) -> Section:
    """A row for each summary value; columns that are the same in all rows are left to the conditions."""
    name = str(frame["analysis"].iloc[0])
    rows = frame[frame["value"].notna() & (frame["kind"] == "summary")]
    rows = frame[frame["value"].notna()] if rows.empty else rows
    stepped = rows["step"].dropna().nunique() > 1
    rows = _last_steps(rows) if stepped else rows
    models = rows["model"].nunique()
    lead = f"{len(rows)} values of {models} {'model' if models == 1 else 'models'}." if len(rows) else "No value."
    table = None if rows.empty else values_table(f"rows-{name}", rows, stepped=stepped)
    return Section(
        name=name,
        heading=heading or name.replace("_", " ").capitalize(),
        lead=lead,
        conditions=conditions(frame),
        tables=() if table is None else (table,),
        caveats=caveats(frame),
    )


def _last_steps(rows: pd.DataFrame) -> pd.DataFrame:
    """Of values taken step by step the last: a curve is no table."""
    identity = ["model", "weights", "metric", "baseline", "condition", "level", "stage", "block", "definition"]
    last = rows.sort_values("step", kind="stable").drop_duplicates(identity, keep="last").sort_index()
    last.attrs = rows.attrs
    return last


def values_table(name: str, rows: pd.DataFrame, *, title: str = "Values", stepped: bool = False) -> Table:
    """A line for each row, with the columns that tell rows apart.

    Args:
        stepped: whether rows are the last of values taken step by step, which is said.
    """
    varying = [place for place in PLACES if rows[place].nunique(dropna=False) > 1]
    places = [place for place in PLACES if place in varying or (place == "step" and stepped)]
    names = labels(rows)
    lines = []
    for row in rows.head(MOST_ROWS).to_dict("records"):
        metric, unit = str(row["metric"]), str(row["unit"])
        shown = display(metric, unit, [row["value"]])
        model = "–" if pd.isna(row["model"]) else names[str(row["model"])]
        spread = ""
        if not pd.isna(row["ci_low"]):
            spread = f"{number(row['ci_low'], metric, shown)} to {number(row['ci_high'], metric, shown)}"
        cells = [
            Cell(text=model),
            Cell(text=f"{shown.name}, {shown.unit}" if shown.unit else shown.name),
            *(place_cell(row[place]) for place in places),
            Cell(text=number(row["value"], metric, shown), detail=spread, value=row["value"]),
            Cell(text=str(row["status"])),
        ]
        lines.append(Row(cells=tuple(cells), model=None if pd.isna(row["model"]) else str(row["model"])))
    more = f"The first {MOST_ROWS} of {len(rows)} rows; `stmbench export` gives all. " if len(rows) > MOST_ROWS else ""
    steps = "Of values taken step by step the last is shown." if stepped else ""
    return Table(
        name=name,
        title=title,
        columns=(
            Column(heading="Model", is_number=False),
            Column(heading="Metric", is_number=False),
            *(Column(heading=place.replace("_", " ").capitalize()) for place in places),
            Column(heading="Value"),
            Column(heading="Status", is_number=False),
        ),
        lines=tuple(lines),
        note=f"{more}{steps}".strip(),
    )


def place_cell(value: object) -> Cell:
    """A stage, level or name; a dash for none."""
    if value is None or pd.isna(value):  # type: ignore[call-overload]
        return Cell(text="–")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Cell(text=f"{value:g}", value=float(value))
    return Cell(text=str(value))


KIND: Final = ["metric", "definition", "condition"]  # rows of a kind are shown together, or are all in the table
LAYER: Final = [*KIND, "model", "weights", "level", "stage", "block", "position"]
ON_PAPER: Final = 10


def with_the_rest(section: Section, frame: pd.DataFrame) -> Section:
    """The section with one more table: every summary value of the kinds that it does not show in full.

    The mean over a layer's heads stands for the heads, of which there can be hundreds.
    """
    rows = frame[frame["value"].notna() & (frame["kind"] == "summary")]
    whole = pd.MultiIndex.from_frame(rows.loc[rows["head"].isna(), LAYER].astype(object).fillna(""))
    has_mean = pd.MultiIndex.from_frame(rows[LAYER].astype(object).fillna("")).isin(whole)
    rows = rows[rows["head"].isna() | ~has_mean]
    said, values = _said(section), _values(section)
    shown_values = [
        value in values or number(value, metric) in said
        for value, metric in zip(rows["value"], rows["metric"], strict=True)
    ]
    missing = ~pd.Series(shown_values, index=rows.index, dtype=bool)
    left = rows[missing.groupby([rows[name].astype(object) for name in KIND], dropna=False).transform("any")]
    if left.empty:
        return section
    shown, note = left, ""
    if len(left) > MOST_ROWS:
        each = MOST_ROWS // left[KIND].drop_duplicates().shape[0]
        shown = left[left.groupby(KIND, dropna=False).cumcount() < max(each, 1)]
        note = f"Of {len(left)} values the first {max(each, 1)} of each kind; `stmbench export` gives all."
    shown.attrs = frame.attrs
    table = values_table(f"{section.name}-rest", shown, title="Also measured")
    table = dataclasses.replace(table, lines_on_paper=ON_PAPER, note=note)
    return dataclasses.replace(section, tables=(*section.tables, table))


def _said(section: Section) -> set[str]:
    """Numbers in the section's tables and at the marks of its figures."""
    found: set[str] = set()
    for table in (*section.tables, *([] if section.headline is None else [section.headline])):
        found |= {cell.text.rstrip("*") for line in table.lines for cell in line.cells}
    for plot in section.plots:
        for mark in marks_in(plot.figure).values():
            found |= {word.strip("(),;:") for word in mark.text.split()}
    return found


def _values(section: Section) -> set[float]:
    """Values of cells, in base units: what is said in words ('< 0.001') or in a smaller unit is shown, too."""
    tables = (*section.tables, *([] if section.headline is None else [section.headline]))
    cells = (cell for table in tables for line in table.lines for cell in line.cells)
    return {cell.value for cell in cells if cell.value is not None and cell.text != "–"}
