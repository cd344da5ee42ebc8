"""How a command that measures ends: 0 when all that was asked for was measured, 1 when some of it failed, else 2."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import typer

from stmbench.errors import InputError

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
