"""What one call of the command line remembers: whether to show tracebacks, and what an interrupt would leave behind."""

from __future__ import annotations

import contextvars
import dataclasses
from typing import TextIO


@dataclasses.dataclass
class Session:
    """State of one call; `kept` is the line an interrupted user reads, `output` what standard output was before it."""

    debug: bool = False
    kept: str = "nothing was written"
    output: TextIO | None = None


_SESSION: contextvars.ContextVar[Session] = contextvars.ContextVar("session")


def start() -> Session:
    """A fresh session, current from here on."""
    session = Session()
    _SESSION.set(session)
    return session


def current() -> Session:
    """The session of the running call (a new one outside of any)."""
    try:
        return _SESSION.get()
    except LookupError:
        return start()


def keep(line: str) -> None:
    """Say what Ctrl-C would leave behind from now on, e.g. 'what is finished stays in D; run again to go on'."""
    current().kept = line
