"""What `stmbench profile` shows and leaves behind: the table, or rows as JSON; figures and a page by the store."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.text import Text

from stmbench.analyses.match import match as match_models
from stmbench.analyses.profile.analysis import Profile
from stmbench.analyses.profile.config import ProfileConfig
from stmbench.analyses.report import Report
from stmbench.commands import streams
from stmbench.commands.ending import end
from stmbench.commands.profile_progress import ProgressLine
from stmbench.commands.run_names import RunNames
from stmbench.errors import printable
from stmbench.figures import profile_figures, save
from stmbench.reporting import build_report, placed, profile_table, write_report
from stmbench.reporting.caveats import faint_mixers
from stmbench.tables import Store
from stmbench.tables.labels import unfit_warnings

TABLE_WIDTH = 100


class Output:
    """One call of the command. With `as_json` standard output gets the rows and nothing else."""

    def __init__(self, folder: Path, *, as_json: bool) -> None:
        self.store = Store(folder)
        self._as_json = as_json
        self._notes = Console(stderr=True)

    def matched(self, names: Sequence[str], quantity: str) -> tuple[str, ...]:
        """Names after `--match`, which is said."""
        matching = match_models(names, quantity)
        for line in (*map(str, matching.matches), *matching.notes):
            self._note(line)
        return matching.names

    def run(self, config: ProfileConfig, *, fresh: bool) -> None:
        """Profile, and show what came of it."""
        with ProgressLine(self._notes) as progress:
            report = Profile(config, self.store, listener=progress).run(fresh=fresh)
        frame = self.store.read(report.keys)
        frame.attrs["warnings"] = report.warnings
        measured = bool((frame["status"] != "failed").any())
        above = unfit_warnings(report.warnings)
        for line in above:
            self._note(line, "bold red")
        if self._as_json:
            streams.echo(rows_as_json(frame))
        elif measured:
            # a pipe has no width of its own: the table gets the one it was laid out for
            streams.console(TABLE_WIDTH).print(profile_table(frame))
        paths = self._draw(frame, config) if measured else {}
        for line in [*faint_mixers(frame), *(line for line in report.warnings if line not in above)]:
            self._note(f"warning: {line}", "yellow")
        for line in report.failures:
            self._note(f"failed: {line}", "red")
        self._note(what_was_done(report))
        self._note("\n".join(f"{what:8} {path}" for what, path in {**paths, "rows": self.store.parts}.items()))
        end(report.failures, measured=measured, note=self._error)

    def _draw(self, frame: pd.DataFrame, config: ProfileConfig) -> dict[str, Path]:
        folder = self.store.folder
        names = RunNames(folder, frame)
        for name, figure in profile_figures(frame).items():
            save(figure, folder / "figures" / names.of(name, folder / "figures" / f"{name}.svg"))
        frame = placed(frame, folder)
        frame.attrs["command"] = shlex.join(["stmbench", *sys.argv[1:]])
        title = (
            f"Profile of {len(config.models)} models" if len(config.models) > 1 else f"Profile of {config.models[0]}"
        )
        page = folder / names.of("profile", folder / "profile.html")
        (page,) = write_report(build_report(frame, title=title), page)
        names.keep()
        return {"page": page, "figures": folder / "figures"}

    def _error(self, line: str) -> None:
        self._note(line, "red")

    def _note(self, text: str, style: str = "") -> None:
        self._notes.print(Text(printable(text), style=style), soft_wrap=True)


def rows_as_json(frame: pd.DataFrame) -> str:
    """One JSON array, one row a line; null where a column is empty, times in ISO 8601."""
    times = frame["created_utc"].map(lambda time: time.isoformat())
    plain = frame.assign(created_utc=times).astype(object)
    records = plain.where(plain.notna(), None).to_dict("records")
    return "[\n" + ",\n".join(json.dumps(record, ensure_ascii=False) for record in records) + "\n]"


def what_was_done(report: Report) -> str:
    """One line on a run."""
    kept = f", {report.kept} taken from the store (--fresh measures them again)" if report.kept else ""
    failed = f", {len(report.failures)} failed" if report.failures else ""
    return f"{report.measured} units of work measured{failed}{kept}"
