"""Standard output belongs to what a command shows: whatever else prints there lands in standard error.

Models, plug-ins and libraries print when they like, and may call `sys.exit`, which must not end a command as if all
were well.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TextIO

import typer

from stmbench.commands import session
from stmbench.errors import OutputError, PluginError

if TYPE_CHECKING:
    from rich.console import Console


def out() -> TextIO:
    """Where the running command shows its results."""
    return session.current().output or sys.stdout


def echo(text: object, *, nl: bool = True) -> None:
    """Show text as it is."""
    typer.echo(text, file=out(), nl=nl)


def console(width: int | None = None, **settings: Any) -> Console:
    """A console for tables; `width` is that of a pipe or a file, which have none of their own."""
    from rich.console import Console

    return Console(file=out(), width=None if out().isatty() else width, **settings)


def guard(command: Any) -> Any:
    """Make every command below `command` keep standard output for itself, and outlast `sys.exit` of others' code."""
    for below in getattr(command, "commands", {}).values():
        guard(below)
    if command.callback is not None:
        command.callback = _guarded(command.callback)
    return command


def _guarded(callback: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(callback)
    def guarded(*args: Any, **options: Any) -> Any:
        with _own_output():
            try:
                return callback(*args, **options)
            except (Exception, KeyboardInterrupt):
                raise
            except BaseException as error:  # SystemExit most of all: no command of ours leaves that way
                got = f"{ending(error)}{_place(error)}"
                raise PluginError("code that leaves the end to stmbench", got, "take that call out") from error

    return guarded


def ending(error: BaseException) -> str:
    """What code did that tried to end the process."""
    if isinstance(error, SystemExit):
        return f"a call of sys.exit({'' if error.code is None else repr(error.code)})"
    return f"{type(error).__name__}: {error}"


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f" in line {frames[-1].lineno} of {os.path.basename(frames[-1].filename)}" if frames else ""


@contextlib.contextmanager
def _own_output() -> Iterator[None]:
    """Keep standard output for `out`; descriptor 1 is standard error meanwhile, for C code and children too."""
    current, real = session.current(), sys.stdout
    if real is None:  # closed by the caller: refused before anything is measured for nobody
        raise OutputError("standard output", "none, it is closed", "redirect it to a file or /dev/null")
    with contextlib.ExitStack() as stack:
        stream = real
        if _descriptor(real) == 1 and _descriptor(sys.stderr) == 2:
            real.flush()
            stream = os.fdopen(os.dup(1), "w", encoding=real.encoding, errors=real.errors)
            stack.callback(_close, stream)
            before = os.dup(1)
            stack.callback(os.close, before)
            os.dup2(2, 1)
            stack.callback(os.dup2, before, 1)
        current.output = stream
        stack.callback(setattr, current, "output", None)
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield
        try:
            stream.flush()
        except BrokenPipeError:
            raise  # the reader has seen enough
        except OSError as error:
            raise OutputError(
                "standard output that can be written", error.strerror or str(error), "make room, or write elsewhere"
            ) from error


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None


def _close(stream: TextIO) -> None:
    with contextlib.suppress(OSError):  # said already, or nobody reads any more
        stream.close()
