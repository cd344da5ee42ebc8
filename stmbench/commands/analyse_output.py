"""What a command on models and images shows and leaves behind."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console, RenderableType
from rich.text import Text

from stmbench.analyses.base import Analysis, Listener
from stmbench.commands import streams
from stmbench.commands.ending import end
from stmbench.commands.profile_output import TABLE_WIDTH, rows_as_json, what_was_done
from stmbench.commands.profile_progress import ProgressLine
from stmbench.commands.run_names import RunNames
from stmbench.errors import printable
from stmbench.figures import save
from stmbench.reporting import build_report, placed, write_report
from stmbench.reporting.caveats import faint_mixers
from stmbench.tables import Store
from stmbench.tables.labels import are_random


class Output:
    """One call of a command. With `as_json` standard output gets the rows and nothing else; `shown` is the definition
    that is drawn, where an analysis measures several."""

    def __init__(self, folder: Path, *, as_json: bool, shown: str | None = None) -> None:
        self.store, self._shown = Store(folder), shown
        self._as_json = as_json
        self._notes = Console(stderr=True)

    def run(
        self,
        make: Callable[[Listener], Analysis],
        table: Callable[[pd.DataFrame], RenderableType],
        figures: Callable[[pd.DataFrame], Mapping[str, Figure]] | None,
        *,
        fresh: bool,
    ) -> None:
        """Run, and show what came of it. Raises, in the end, what `end` raises where units failed."""
        with ProgressLine(self._notes, left="about {} left") as progress:
            report = make(progress).run(fresh=fresh)
        frame = self.store.read(report.keys)
        frame.attrs["warnings"] = report.warnings
        frame.attrs["command"] = shlex.join(["stmbench", *sys.argv[1:]])
        good = frame[frame["status"] != "failed"]
        if self._as_json:
            streams.echo(rows_as_json(frame))
        elif len(good):
            # a pipe has no width of its own: the table gets the one it was laid out for
            streams.console(TABLE_WIDTH).print(table(frame))
        paths = self._draw(frame, figures) if len(good) and figures else {}
        for line in [*untrained(good), *faint_mixers(frame), *report.warnings]:
            self._note(f"warning: {line}", "yellow")
        for line in report.failures:
            self._note(f"failed: {line}", "red")
        self._note(what_was_done(report))
        self._note("\n".join(f"{what:8} {path}" for what, path in {**paths, "rows": self.store.parts}.items()))
        end(report.failures, measured=bool(len(good)), note=self._error)

    def _draw(self, frame: pd.DataFrame, figures: Callable[[pd.DataFrame], Mapping[str, Figure]]) -> dict[str, Path]:
        folder = self.store.folder
        names, analysis = RunNames(folder, frame, shown=self._shown), str(frame["analysis"].iloc[0])
        for name, figure in figures(frame).items():
            save(figure, folder / "figures" / names.of(name, folder / "figures" / f"{name}.svg"))
        page = folder / names.of(analysis, folder / f"{analysis}.html")
        (page,) = write_report(build_report(placed(frame, folder)), page)
        names.keep()
        return {"page": page, "figures": folder / "figures"}

    def _error(self, line: str) -> None:
        self._note(line, "red")

    def _note(self, text: str, style: str = "") -> None:
        self._notes.print(Text(printable(text), style=style), soft_wrap=True)


def untrained(frame: pd.DataFrame) -> list[str]:
    """A line that says which models have random weights; none where all are trained."""
    random = are_random(frame["weights"]) & (frame["analysis"] != "profile")
    names = list(dict.fromkeys(frame.loc[random, "model"].dropna()))
    if not names:
        return []
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return [f"untrained, weights are random init: {shown}; give weights with --checkpoint"]
