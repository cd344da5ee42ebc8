"""Rows changed in some columns, and the one section that a report makes of rows."""

from __future__ import annotations

import dataclasses
from typing import Any

from stmbench.reporting import build_report
from stmbench.reporting.content import Section
from stmbench.tables import Row
from tests.tables.robustness_frames import frame


def like(row: Row, **changes: Any) -> Row:
    return dataclasses.replace(row, **changes)


def only(rows: list[Row]) -> Section:
    """The one section of a table."""
    (section,) = build_report(frame(rows)).sections
    return section
