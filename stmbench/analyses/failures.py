"""Why a unit of work failed, in a line."""

from __future__ import annotations

import re
from collections.abc import Iterable

from stmbench.analyses.unit import Unit
from stmbench.errors import StmbenchError, printable
from stmbench.tables import Row

# of an absolute path, not of an address; the file's name stays
FOLDERS = re.compile(r"(?:(?<![\w./])|(?<=file://))(/[^\s/:\"']+)+/(?=[^\s/])")


def failures_in(unit: Unit, rows: Iterable[Row]) -> list[str]:
    """'what: why' for each reason of rows that failed, be it all of the unit or some of its models."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row.status == "failed":
            found.setdefault(str(row.reason), []).append(str(row.model))
    return [f"{unit.task} of {', '.join(dict.fromkeys(models))}: {reason}" for reason, models in found.items()]


def reason_of(error: BaseException) -> str:
    """One line for a row: the kind of error, unless the message says enough by itself, and its first line."""
    # a traceback inside the message would put this machine's folders into the table
    text = printable(FOLDERS.sub("", " ".join(str(error).split()))[:300])
    if isinstance(error, SystemExit):
        return f"its code called sys.exit({text})"
    return text if isinstance(error, StmbenchError) else f"{type(error).__name__}: {text}"
