"""A store as CSV: one line per row, the table's columns, base units, empty where null."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from stmbench.tables.writing import write_file


def csv_text(frame: pd.DataFrame) -> str:
    """The table as CSV text; floats keep all their digits."""
    return frame.to_csv(index=False, lineterminator="\n", date_format="%Y-%m-%dT%H:%M:%S.%fZ")


def write_csv(frame: pd.DataFrame, path: str | Path) -> Path:
    """Write the CSV at once. Raises OutputError where the file cannot be written."""
    path = Path(path)
    write_file(path, csv_text(frame))
    return path
