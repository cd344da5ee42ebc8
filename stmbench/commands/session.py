"""What one call of the command line remembers: whether to show tracebacks, and what an interrupt would leave behind."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TextIO

import typer

from stmbench.errors import InputError

if TYPE_CHECKING:
    from stmbench.tables.mirror import Mirror


@dataclasses.dataclass
class Session:
    """State of one call; `kept` is the line an interrupted user reads, `output` what standard output was before it,
    `mirrors` stand for the stores that were named by address."""

    debug: bool = False
    kept: str = "nothing was written"
    output: TextIO | None = None
    mirrors: list[Mirror] = dataclasses.field(default_factory=list)


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


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Import a command's model code without looking for garbage meanwhile: a million objects, none of which goes.

    Afterwards they are left out of later collections, that of the end included: together a fifth of a small command.
    """
    was_enabled, is_first = gc.isenabled(), "torch" not in sys.modules
    gc.disable()
    try:
        yield
    finally:
        if is_first:  # in a process that calls many commands, others' garbage would be kept for ever
            gc.freeze()
        if was_enabled:
            gc.enable()


SHOWN = 10  # names in one line


def end(failures: Sequence[str], *, measured: bool, note: Callable[[str], None]) -> None:
    """End the command that has shown its results; return where nothing failed.

    Args:
        failures: a line for each unit of work that failed, 'what: why'.
        measured: whether anything was, in this run or before it.
        note: shows a line to the user.

    Raises:
        InputError: not one unit of work could be done. typer.Exit: with 1, where some could.
    """
    if not measured:
        got = f"all {len(failures)} failed" if len(failures) != 1 else "the only one failed"
        raise InputError("a unit of work that can be done", got, "see the reasons above")
    if failures:
        names = [line.partition(": ")[0] for line in failures]
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        count = "1 unit" if len(names) == 1 else f"{len(names)} units"
        note(f"error: {count} of work failed: {'; '.join(names[:SHOWN])}{more}")
        raise typer.Exit(1)
