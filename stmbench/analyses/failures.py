"""Why a unit of work failed, in a line."""

from __future__ import annotations

import re
from collections.abc import Iterable

from stmbench.analyses.unit import Unit
from stmbench.errors import ConfigError, StmbenchError, printable
from stmbench.tables import Row

# of an absolute path, not of an address; the file's name stays
FOLDERS = re.compile(r"(?:(?<![\w./])|(?<=file://))(/[^\s/:\"']+)+/(?=[^\s/])")

# torch's refusal to take the moments of one value: a batch of one image whose map has shrunk to one position
LONELY = re.compile(r"Expected more than 1 [a-z ]+ when training, got input size torch\.Size\(\[([\d, ]+)\]\)")


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
    if (size := LONELY.search(str(error))) and not isinstance(error, StmbenchError):
        return _too_few_values(size[1])
    text = printable(FOLDERS.sub("", " ".join(str(error).split()))[:300])
    if isinstance(error, SystemExit):
        return f"its code called sys.exit({text})"
    return text if isinstance(error, StmbenchError) else f"{type(error).__name__}: {text}"


def _too_few_values(size: str) -> str:
    got = f"1, in a map of {'x'.join(size.split(', '))}"
    expected = "at least 2 values of each channel for a norm that trains"
    return str(
        ConfigError(expected, got, "give --batch-size 2 or more for each process and pass, or a larger --resolution")
    )
