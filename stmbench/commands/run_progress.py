"""One display for a whole run: a bar over its tasks, and a line for each that is under way."""

from __future__ import annotations

import time

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from stmbench.experiments.running import Standing
from stmbench.reporting.durations import duration

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

    def __call__(self, standing: Standing) -> None:
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


def _drawn(standing: Standing) -> RenderableType:
    head = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=max(1, standing.total), completed=standing.done, width=30)
    head.add_row(bar, Text(f"{standing.done} of {standing.total} tasks{_left(standing)}"))
    lines = [Text(f"  {text}", style="dim", no_wrap=True) for text in list(standing.running.values())[:MOST]]
    return Group(head, *lines)


def _left(standing: Standing) -> str:
    return "" if standing.seconds_left is None else f", about {duration(standing.seconds_left)} left"
