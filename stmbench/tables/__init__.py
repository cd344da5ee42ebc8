"""The tidy long table in which all results are stored; `read(folder)` returns a store as one data frame.

schema             columns, types, units, and the check on write and read
rows               one row; rows as a data frame and as CSV; texts and numbers for people
trainings          what every training of a store was configured with
flat               a store as one table with a row for each model, in timm's columns
labels             texts that columns hold and others parse: resolution, weights, reasons
store              a folder of parts, one per unit of work: write, resume, read
parts              one Parquet part
footers            a sealed file's metadata in a fraction of the time
constant_columns   rows of a small file in a fraction of the time
remembered         metadata that was verified, for as long as no file is written
migration          parts of older schema versions
packed             many parts in one file: reading, removing, the folder's lock
compaction         merging parts into that file
attributes         what a store's frame knows beside its rows
files              atomic writes; seals, hashes and types that reveal damage
damage             artifacts that are damaged or gone
addresses          stores by path or by address: where one is worked on
mirror             the folder that stands for a store at an address
object_storage     the objects below an address such as s3://bucket/folder
published          the papers' own tables, and measured values compared with them
comparison_result  what `stmbench compare` reports: findings, verdicts, versions

The names below are imported at their first use: a plan needs texts of this package, and no data frame.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stmbench.tables.rows import Row, frame_of
    from stmbench.tables.schema import COLUMNS, SCHEMA_VERSION, check
    from stmbench.tables.store import Store, read, unit_key

__all__ = ["COLUMNS", "SCHEMA_VERSION", "Row", "Store", "check", "frame_of", "read", "unit_key"]
_HOMES = {
    **dict.fromkeys(("Row", "frame_of"), "rows"),
    **dict.fromkeys(("COLUMNS", "SCHEMA_VERSION", "check"), "schema"),
    **dict.fromkeys(("Store", "read", "unit_key"), "store"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
