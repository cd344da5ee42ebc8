"""Progress of a profile on standard error: a bar on a terminal, a line per step elsewhere.

Nothing is drawn by a thread of its own: that would take processor time from what is being measured.
"""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn
from rich.progress import Progress as Bar

from stmbench.analyses.base import Progress
from stmbench.reporting.durations import duration

BETWEEN_DRAWS_S, BETWEEN_LINES_S = 0.5, 30.0


class ProgressLine:
    """A listener for `Analysis`, and a context manager around its run. `left` words the time that is left."""

    def __init__(self, console: Console, *, left: str = "at most {} left") -> None:
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
        step, now = event.text.partition(", round")[0], time.monotonic()
        is_new = step != self._step
        if not is_new and now - self._drawn < (BETWEEN_DRAWS_S if self._console.is_terminal else BETWEEN_LINES_S):
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
