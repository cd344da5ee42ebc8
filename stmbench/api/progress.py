"""How far a run is: a bar of tqdm's in a notebook, the command line's display elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stmbench.analyses.base import Listener, Progress

BETWEEN_DRAWS_S = 0.3


def in_notebook() -> bool:
    """Whether this is a Jupyter kernel."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and type(shell).__name__ != "TerminalInteractiveShell"


@contextlib.contextmanager
def listener_of(wanted: bool) -> Iterator[Listener | None]:
    """A display for an analysis, closed at the end; None where none is wanted or a notebook has no tqdm."""
    if not wanted:
        yield None
    elif not in_notebook():
        from rich.console import Console

        from stmbench.commands.progress_line import ProgressLine

        with ProgressLine(Console(stderr=True), left="about {} left") as line:
            yield line
    else:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # without ipywidgets tqdm draws with text
                from tqdm.auto import tqdm

                bar = tqdm(total=1.0, leave=False, bar_format="{desc} {bar} {postfix}")
        except ImportError:
            yield None
            return
        try:
            yield NotebookBar(bar)
        finally:
            bar.close()


class NotebookBar:
    """A listener that moves a bar of tqdm's."""

    def __init__(self, bar: Any) -> None:
        self._bar, self._step, self._drawn = bar, "", 0.0

    def __call__(self, event: Progress) -> None:
        """Show where the run stands, unless it was shown a moment ago."""
        from stmbench.tables.labels import duration

        step, now = event.text.partition(", round")[0], time.monotonic()
        if step == self._step and now - self._drawn < BETWEEN_DRAWS_S:
            return
        self._step, self._drawn = step, now
        self._bar.total = event.total or 1.0
        self._bar.n = min(event.done, self._bar.total)
        self._bar.set_description_str(event.text, refresh=False)
        left = "" if event.seconds_left is None else f"about {duration(event.seconds_left)} left"
        self._bar.set_postfix_str(left, refresh=False)
        self._bar.refresh()
