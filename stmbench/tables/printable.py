"""Texts and tables that are safe to print: control characters are escaped.

An escape sequence in a name could colour or clear a terminal, XML cannot hold most control characters, and a mark that
reverses the writing direction makes one name look like another.
"""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

import pandas as pd

from stmbench.errors import printable

__all__ = ["printable", "printable_frame", "printable_in"]

T = TypeVar("T")


def printable_in(value: T) -> T:
    """Escape every text in lists, tuples, mappings (keys too) and dataclasses; other values are returned unchanged."""
    found: Any = value
    if isinstance(value, str):
        found = printable(value)
    elif isinstance(value, dict):
        found = {printable_in(key): printable_in(item) for key, item in value.items()}
    elif isinstance(value, tuple):
        items = [printable_in(item) for item in value]
        found = value._make(items) if hasattr(value, "_make") else tuple(items)
    elif isinstance(value, list):
        found = [printable_in(item) for item in value]
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
        found = dataclasses.replace(value, **{name: printable_in(item) for name, item in fields.items()})
    return found  # type: ignore[no-any-return]


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
