"""A table with a column for each metric: what a model has at each of its places (stages, layers, levels)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from stmbench.figures.plot_data import labels
from stmbench.reporting.content import Cell, Column, Row, Table
from stmbench.reporting.model_table import ON_PAPER, PLACES, place_cell
from stmbench.tables.rows import Display, display, number


def metrics_table(
    name: str,
    title: str,
    rows: pd.DataFrame,
    metrics: Sequence[str],
    *,
    across: Sequence[str] = (),
    heading: Callable[..., Column] | None = None,
    note: str = "",
) -> Table | None:
    """A line for each model and place, a column for each of `metrics` and value of `across`; None without a value.

    Args:
        across: columns of the table of results, such as stage or level, that make columns here too.
        heading: of a metric and its values of `across`; default: the metric's name and those values.
    """
    rows = rows[rows["metric"].isin(metrics) & rows["value"].notna() & (rows["kind"] == "summary")]
    if rows.empty:
        return None
    places = [place for place in PLACES if place not in across and rows[place].nunique(dropna=False) > 1]
    names, columns = labels(rows), dict[tuple[Any, ...], None]()
    units = {metric: display(metric, values=rows.loc[rows["metric"] == metric, "value"]) for metric in metrics}
    lines: dict[tuple[Any, ...], dict[tuple[Any, ...], Cell]] = {}
    for row in rows.to_dict("records"):
        column = tuple(None if pd.isna(row[part]) else row[part] for part in ("metric", *across))
        line = tuple(None if pd.isna(row[part]) else row[part] for part in ("model", *places))
        columns[column] = None
        # of repeated measurements the newest: rows come in the order of writing
        lines.setdefault(line, {})[column] = valued(row, units[row["metric"]])
    order = sorted(columns, key=lambda column: (metrics.index(column[0]), *((at is not None, at) for at in column[1:])))
    return Table(
        name=name,
        title=title,
        columns=(
            Column(heading="Model", is_number=False),
            *(_place_column(place, rows) for place in places),
            *(heading(*column) if heading else _metric_column(units[column[0]], *column[1:]) for column in order),
        ),
        lines=tuple(
            Row(
                cells=(
                    Cell(text=names.get(str(line[0]), "all models")),
                    *(place_cell(at) for at in line[1:]),
                    *(cells.get(column, Cell(text="–")) for column in order),
                ),
                model=line[0],
            )
            for line, cells in lines.items()
        ),
        note=note,
        lines_on_paper=ON_PAPER,
    )


def _metric_column(shown: Display, *values: object) -> Column:
    said = " ".join([shown.name, *(f"{value:g}" if isinstance(value, float) else str(value) for value in values)])
    return Column(heading=said[:1].upper() + said[1:], unit=shown.unit)


def _place_column(place: str, rows: pd.DataFrame) -> Column:
    words = "Part" if place == "condition" else place.replace("_", " ").capitalize()
    return Column(heading=words, is_number=pd.api.types.is_numeric_dtype(rows[place]))


def valued(row: Mapping[Any, Any], shown: Display | None = None) -> Cell:
    """The value of a row of the table of results, with its interval below it; `shown` is the unit of its column."""
    metric, spread = row["metric"], ""
    if not pd.isna(row["ci_low"]):
        spread = f"{number(row['ci_low'], metric, shown)} to {number(row['ci_high'], metric, shown)}"
    return Cell(text=number(row["value"], metric, shown), detail=spread, value=row["value"])
