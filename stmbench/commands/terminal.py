"""What a command shows: results on standard output, which is theirs alone, and progress on standard error.

Models, plug-ins and libraries print when they like, which lands in standard error, and may call `sys.exit`, which must
not end a command as if all were well. Progress is a bar on a terminal and a line per step elsewhere; no thread of its
own draws it, which would take processor time from what is being measured.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

import typer

from stmbench.commands import session
from stmbench.errors import OutputError, PluginError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from stmbench.analyses.base import Progress
    from stmbench.experiments.running import RunStatus

SHOWN_TASKS = 4  # of the running ones
TABLE_WIDTH = 100  # of a pipe or a file


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


class ProgressLine:
    """A listener for `Analysis`, and a context manager around its run. `left` words the time that is left."""

    between_draws_s, between_lines_s = 0.5, 30.0

    def __init__(self, console: Console, *, left: str = "at most {} left") -> None:
        from rich.progress import BarColumn, SpinnerColumn, TextColumn
        from rich.progress import Progress as Bar

        self._console, self._words = console, left
        self._bar = Bar(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[left]}", style="dim"),
            console=console,
            auto_refresh=False,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=None, left="")
        self._pause_s = self.between_draws_s if console.is_terminal else self.between_lines_s
        self._drawn, self._step = 0.0, ""

    def __enter__(self) -> ProgressLine:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, event: Progress) -> None:
        """Show where the run stands, unless it was shown a moment ago."""
        from stmbench.tables.labels import duration

        step, now = event.text.partition(", round")[0], time.monotonic()
        is_new = step != self._step
        if not is_new and now - self._drawn < self._pause_s:
            return
        self._step, self._drawn = step, now
        left = "" if event.seconds_left is None else self._words.format(duration(event.seconds_left))
        if not self._console.is_terminal:
            self._console.print(
                " ".join([event.text, *([f"({left})"] if left else [])]), markup=False, highlight=False, soft_wrap=True
            )
            return
        if is_new:
            self._bar.reset(self._task, total=event.total)
        self._bar.update(self._task, description=event.text, completed=event.done, total=event.total, left=left)
        self._bar.refresh()


class RunProgress:
    """Shows the status of a run: drawn on a terminal, a line now and then elsewhere."""

    between_draws_s, between_done_s, between_lines_s = 0.3, 1.0, 15.0

    def __init__(self, console: Console) -> None:
        from rich.live import Live

        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._shown, self._done = 0.0, -1

    def __enter__(self) -> RunProgress:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, status: RunStatus) -> None:
        """Show it, unless something was shown a moment ago."""
        now = time.monotonic()
        pause = self.between_draws_s if self._live else self.between_lines_s
        if self._live is None and status.done != self._done:
            pause = 0.0 if status.done == status.total else self.between_done_s
        if now - self._shown < pause:
            return
        self._shown, self._done = now, status.done
        if self._live:
            self._live.update(_drawn(status), refresh=True)
            return
        running = "; ".join(list(status.running.values())[:SHOWN_TASKS])
        text = f"{status.done} of {status.total} tasks done{_left(status)}" + (f": {running}" if running else "")
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _drawn(status: RunStatus) -> RenderableType:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    head = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=max(1, status.total), completed=status.done, width=30)
    head.add_row(bar, Text(f"{status.done} of {status.total} tasks{_left(status)}"))
    lines = [Text(f"  {text}", style="dim", no_wrap=True) for text in list(status.running.values())[:SHOWN_TASKS]]
    return Group(head, *lines)


def _left(status: RunStatus) -> str:
    from stmbench.tables.labels import duration

    return "" if status.seconds_left is None else f", about {duration(status.seconds_left)} left"
