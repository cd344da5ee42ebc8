"""One row of the table; rows as a data frame and as CSV; keys that join rows of two stores; what people read of them.

The table holds base units, such as 8.5e8 MAC; a reader sees 0.85 GMACs.

Control characters are escaped before anything is printed: an escape sequence in a name could colour or clear a
terminal, XML cannot hold most control characters, and a mark that reverses the writing direction makes one name look
like another.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import math
import numbers
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import pandas as pd

from stmbench.analyses.registry import metric as registered
from stmbench.errors import TableError, printable
from stmbench.tables.files import write_file
from stmbench.tables.labels import resolution_text
from stmbench.tables.schema import SCHEMA, Column, check, pandas_dtype

T = TypeVar("T")
Key = tuple[Any, ...]  # values in the order of the key's columns


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One value with its conditions; the fields are the table's columns, documented in `schema.SCHEMA`."""

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
    resolution: str | int | tuple[int, int] | None = None  # becomes text: '224', '32x64'
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
        object.__setattr__(self, "resolution", resolution_text(self.resolution))


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
    """Whether a value has the column's type without conversion: 'None' or 224.5 px would be noticed too late."""
    is_bool = isinstance(value, bool) or type(value).__name__ in ("bool", "bool_")  # numpy's bool, and that of numpy 1
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


def csv_text(frame: pd.DataFrame) -> str:
    """A table as CSV: base units, floats with all their digits, empty cells for nulls."""
    return frame.to_csv(index=False, lineterminator="\n", date_format="%Y-%m-%dT%H:%M:%S.%fZ")


def write_csv(frame: pd.DataFrame, path: str | Path) -> Path:
    """Write the CSV atomically. Raises OutputError if the file cannot be written."""
    path = Path(path)
    write_file(path, csv_text(frame))
    return path


def row_keys(frame: pd.DataFrame, columns: Sequence[str]) -> list[Key]:
    """One key per row: its values in these columns, None for nulls, so that nulls equal each other."""
    plain = frame[list(columns)].astype(object)
    return list(plain.where(plain.notna(), None).itertuples(index=False, name=None))


def newest_rows(frame: pd.DataFrame, columns: Sequence[str]) -> dict[Key, Any]:
    """key -> the newest row of a model that has a value; `frame` is sorted by time, as stores are read."""
    good = frame[frame["value"].notna() & frame["model"].notna()]
    return dict(zip(row_keys(good, columns), good.to_dict("records"), strict=True))


class SharedDict(dict[Any, Any]):
    """A mapping of a frame's attrs that all frames made from it share: pandas copies attrs with every selection."""

    def __deepcopy__(self, memo: object) -> SharedDict:
        return self


class SharedList(list[Any]):
    """The same for a list."""

    def __deepcopy__(self, memo: object) -> SharedList:
        return self


@functools.cache
def _given(kind: Any) -> tuple[str, ...]:
    """The names of a dataclass's fields that its constructor takes."""
    return tuple(field.name for field in dataclasses.fields(kind) if field.init)


def printable_in(value: T) -> T:
    """Escape every text in lists, tuples, mappings (keys too) and dataclasses; other values are returned unchanged."""
    escaped: Any = value
    if isinstance(value, str):
        escaped = printable(value)
    elif isinstance(value, dict):
        kind = SharedDict if isinstance(value, SharedDict) else dict
        escaped = kind((printable_in(key), printable_in(item)) for key, item in value.items())
    elif isinstance(value, tuple):
        items = [printable_in(item) for item in value]
        if any(item is not own for item, own in zip(items, value, strict=True)):
            escaped = value._make(items) if hasattr(value, "_make") else tuple(items)
    elif isinstance(value, list):
        kept = SharedList if isinstance(value, SharedList) else list
        escaped = kept(printable_in(item) for item in value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        changed = {name: printable_in(getattr(value, name)) for name in _given(type(value))}
        changed = {name: item for name, item in changed.items() if item is not getattr(value, name)}
        escaped = dataclasses.replace(value, **changed) if changed else value
    return escaped  # type: ignore[no-any-return]


def printable_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with its texts and `attrs` escaped; `artifact` keeps its paths."""
    changed = {}
    for name in frame.columns:
        if name == "artifact" or not (pd.api.types.is_string_dtype(frame[name]) or frame[name].dtype == object):
            continue
        odd = {text: printable(text) for text in frame[name].dropna().unique() if isinstance(text, str)}
        odd = {text: shown for text, shown in odd.items() if text != shown}
        if odd:
            changed[name] = frame[name].map(lambda text, odd=odd: odd.get(text, text), na_action="ignore")
    attrs = printable_in(frame.attrs)
    frame = frame.assign(**{name: column.astype(frame[name].dtype) for name, column in changed.items()})
    frame.attrs = attrs
    return frame


class Display(NamedTuple):
    """How a metric is shown: its name, the unit it is shown in, how many base units that is, and decimals."""

    name: str
    unit: str
    factor: float
    decimals: int
    before_level: str = " "  # what parts the name from a row's level


# unit -> the one that takes over where the largest value is below a tenth of it, how much smaller it is, decimals
SMALLER: Final = {
    "GMACs": ("MMACs", 1e3, 2),
    "GMAC/s": ("MMAC/s", 1e3, 1),
    "GB/s": ("MB/s", 1e3, 1),
    "M": ("k", 1e3, 1),
    "ms": ("µs", 1e3, 1),
    "MiB": ("KiB", 2.0**10, 1),
}


def display(metric: str, unit: str = "", values: Iterable[float | None] = ()) -> Display:
    """How `metric` is shown; one that has no entry is shown in its base unit, under its own name.

    Args:
        values: what is shown together, as in a column or on an axis, in base units: where all are below a tenth of the
            unit the next smaller one is taken (MMACs under 0.1 GMACs).
    """
    facts = registered(metric)
    title = metric.replace("_", " ")
    if facts is None:
        return Display(title, "" if unit == "1" else unit, 1.0, 3)
    base = unit or facts.unit
    shown_unit = ("" if base == "1" else base) if facts.shown_unit is None else facts.shown_unit
    shown = Display(facts.title or title, shown_unit, facts.factor, facts.decimals, facts.before_level)
    largest = max((abs(value) for value in values if value is not None and not math.isnan(value)), default=0.0)
    if shown_unit not in SMALLER or not 0 < largest < 0.1 * facts.factor:
        return shown
    smaller, ratio, decimals = SMALLER[shown_unit]
    return shown._replace(unit=smaller, factor=facts.factor / ratio, decimals=decimals)


def number(value: float | None, metric: str, shown: Display | None = None) -> str:
    """The value in the metric's display unit (or in that of `shown`), without the unit; a dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    shown = shown or display(metric)
    scaled = value / shown.factor
    if shown.unit == "count" and scaled == round(scaled):
        return f"{scaled:,.0f}"
    # fixed decimals line up in a column; a value that they would leave one digit of gets three significant ones
    small = scaled != 0 and abs(scaled) < 10.0 ** min(0, 1 - shown.decimals)
    return f"{scaled:.3g}" if small else f"{scaled:,.{shown.decimals}f}"
