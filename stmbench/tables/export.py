"""A store as CSV: one line per row, the table's columns, base units, empty where null."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from stmbench.errors import OutputError


def csv_text(frame: pd.DataFrame) -> str:
    """The table as CSV text; floats keep all their digits."""
    return frame.to_csv(index=False, lineterminator="\n", date_format="%Y-%m-%dT%H:%M:%S.%fZ")


def write_csv(frame: pd.DataFrame, path: str | Path) -> Path:
    """Write the CSV at once. Raises OutputError where the file cannot be written."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(csv_text(frame), encoding="utf-8", newline="")
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"to write {path}", error.strerror or str(error), "choose another place") from error
    return path
