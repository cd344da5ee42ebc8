"""One row of the table, and rows as a data frame."""

from __future__ import annotations

import dataclasses
import datetime
import numbers
from collections.abc import Iterable
from typing import Any

import pandas as pd

from stmbench.errors import TableError
from stmbench.tables.schema import SCHEMA, Column, check, pandas_dtype
from stmbench.tables.sides import in_words


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One value and all that it is a function of; the fields are the table's columns, explained in `schema.SCHEMA`."""

    run_id: str
    created_utc: datetime.datetime  # with a time zone
    kind: str
    analysis: str
    definition: str
    model: str | None = None
    baseline: str | None = None
    architecture: str | None = None
    mixer: str | None = None
    scale: str | None = None
    weights: str | None = None
    seed: int | None = None
    dataset: str | None = None
    split: str | None = None
    num_images: int | None = None
    device: str | None = None
    dtype: str | None = None
    compile: bool | None = None
    resolution: str | int | tuple[int, int] | None = None  # words, once the row is made: '224', '32x64'
    batch_size: int | None = None
    stage: int | None = None
    block: int | None = None
    head: int | None = None
    position: int | None = None
    step: int | None = None
    condition: str | None = None
    level: float | None = None
    sample: int | None = None
    metric: str | None = None
    unit: str | None = None
    value: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    num_samples: int | None = None
    artifact: str | None = None
    status: str = "ok"
    reason: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "resolution", in_words(self.resolution))


def frame_of(rows: Iterable[Row]) -> pd.DataFrame:
    """The rows as a checked data frame with the schema's columns. Raises TableError for a value of the wrong type."""
    listed = list(rows)
    data = {column.name: _series(column, [getattr(row, column.name) for row in listed]) for column in SCHEMA}
    return check(pd.DataFrame(data), "the rows")


def _series(column: Column, values: list[Any]) -> pd.Series:
    for value in values:
        if value is not None and not _fits(column, value):
            raise TableError(
                f"{column.name} to be {_WORDS[column.type]}", f"{value!r} ({type(value).__name__})", "convert it"
            )
    return pd.Series(values, dtype=pandas_dtype(column))


_WORDS = {
    "string": "text",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "time": "a datetime with a time zone",
}


def _fits(column: Column, value: object) -> bool:
    """Whether a value is of the column's type as it stands: a converted 'None' or 224.5 px would be found too late."""
    is_bool = isinstance(value, bool) or type(value).__name__ == "bool"  # numpy's bool has that name too
    match column.type:
        case "string":
            return isinstance(value, str)
        case "int":
            return isinstance(value, numbers.Integral) and not is_bool
        case "float":
            return isinstance(value, numbers.Real) and not is_bool
        case "bool":
            return is_bool
        case "time":
            return isinstance(value, datetime.datetime) and value.tzinfo is not None
