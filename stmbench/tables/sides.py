"""An input's size as the column `resolution` says it: '224' px square, or '32x64' (height x width)."""

from __future__ import annotations

import re

import pyarrow as pa

from stmbench.errors import TableError

WORDS = re.compile(r"[0-9]+(x[0-9]+)?")
SHAPE = re.compile(r":3x(\d+)x(\d+)$")  # what a profile's data is called: 'noise:3x32x64'


def sides_words(height: int, width: int) -> str:
    """'224', or '32x64' where the height is not the width."""
    return f"{height}" if height == width else f"{height}x{width}"


def side_of(words: str) -> int | None:
    """The side of a square; None for another rectangle."""
    return int(words) if words.isdigit() else None


def in_words(value: object) -> object:
    """What `resolution` holds for a size given as a number, as words, or as (height, width); anything else as it is.

    Raises TableError for words that are no size.
    """
    if isinstance(value, str) and not WORDS.fullmatch(value):
        raise TableError("resolution as 224 or 32x64", repr(value), "write height x width in pixels")
    if isinstance(value, tuple) and len(value) == 2:
        return sides_words(*value)
    is_number = hasattr(value, "__index__") and not isinstance(value, bool)
    return str(value) if is_number else value


def upgraded(table: pa.Table) -> pa.Table:
    """A part of schema version 1, in which `resolution` was a square's side and empty for any other rectangle."""
    index = table.schema.get_field_index("resolution")
    if index < 0 or table.schema.field(index).type != pa.int64():
        return table
    names = table["dataset"].to_pylist() if "dataset" in table.schema.names else [None] * table.num_rows
    words = [_first(side, name) for side, name in zip(table["resolution"].to_pylist(), names, strict=True)]
    return table.set_column(index, pa.field("resolution", pa.string()), pa.array(words, pa.string()))


def _first(side: int | None, dataset: str | None) -> str | None:
    if side is not None:
        return str(side)
    shape = SHAPE.search(dataset or "")
    return None if shape is None else sides_words(int(shape[1]), int(shape[2]))
