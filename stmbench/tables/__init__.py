"""The tidy long table: schema, rows, part store, published figures, comparison.

`stmbench.tables.read(folder)` gives a store back as one data frame.
"""

from stmbench.tables.rows import Row, frame_of
from stmbench.tables.schema import COLUMNS, SCHEMA_VERSION, check
from stmbench.tables.store import Store, read, unit_key

__all__ = ["COLUMNS", "SCHEMA_VERSION", "Row", "Store", "check", "frame_of", "read", "unit_key"]
