"""Progress of a profile on standard error: a bar on a terminal, a line per step elsewhere.

Nothing is drawn by a thread of its own: that would take processor time from what is being measured.
"""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, SpinnerColumn, TextColumn
from rich.progress import Progress as Bar
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from stmbench.analyses.base import Progress
from stmbench.experiments.running import RunStatus
from stmbench.tables.labels import duration

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


BETWEEN_DRAWS_S, BETWEEN_LINES_S = 0.3, 15.0
MOST = 4  # running tasks that are shown


class RunProgress:
    """Shows a run's standing: drawn on a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console) -> None:
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

    def __call__(self, standing: RunStatus) -> None:
        """Show it, unless something was shown a moment ago."""
        now = time.monotonic()
        pause = BETWEEN_DRAWS_S if self._live else BETWEEN_LINES_S
        if now - self._shown < pause and not (self._live is None and standing.done != self._done):
            return
        self._shown, self._done = now, standing.done
        if self._live:
            self._live.update(_drawn(standing), refresh=True)
            return
        running = "; ".join(list(standing.running.values())[:MOST])
        text = f"{standing.done} of {standing.total} tasks done{_left(standing)}" + (f": {running}" if running else "")
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _drawn(standing: RunStatus) -> RenderableType:
    head = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=max(1, standing.total), completed=standing.done, width=30)
    head.add_row(bar, Text(f"{standing.done} of {standing.total} tasks{_left(standing)}"))
    lines = [Text(f"  {text}", style="dim", no_wrap=True) for text in list(standing.running.values())[:MOST]]
    return Group(head, *lines)


def _left(standing: RunStatus) -> str:
    return "" if standing.seconds_left is None else f", about {duration(standing.seconds_left)} left"
