"""What the command of an analysis shows and leaves behind: a table or JSON, figures, a page, warnings."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
from rich.console import Console
from rich.text import Text

from stmbench.analyses.base import Analysis, Listener
from stmbench.analyses.registry import AnalysisSpec, View
from stmbench.analyses.unit import Report
from stmbench.commands import terminal
from stmbench.commands.addresses import shown
from stmbench.commands.session import end
from stmbench.commands.terminal import TABLE_WIDTH, ProgressLine
from stmbench.errors import printable
from stmbench.figures import save
from stmbench.reporting import build_report, placed, write_report
from stmbench.reporting.caveats import faint_mixers
from stmbench.tables import Store, read
from stmbench.tables.files import write_file
from stmbench.tables.labels import are_random, duration, unfit_warnings

if TYPE_CHECKING:
    from stmbench.analyses.match import Matching

RECORD: Final = "figures.json"  # name -> what the run that has it was made of
FACETS: Final = (
    *("resolution", "batch_size", "dtype", "compile", "device", "dataset", "split", "num_images", "definition"),
    *("weights", "model"),
)
LONGEST: Final = 40  # letters of one facet in a name, beyond which values are counted
Facts = dict[str, list[str]]
Estimate = Callable[[], "float | None"]


class RunNames:
    """Which names a run may write in a store's folder.

    The first run has the plain ones (`throughput`). A later one that differs in setting or models has its own, made of
    what differs (`throughput-64_px-batch_1`); the same run done again has those that it had.
    """

    def __init__(self, folder: Path, frame: pd.DataFrame, *, shown: str | None = None) -> None:
        """`shown` is the definition that is drawn, where the rows have several."""
        self._file, self._facts = folder / RECORD, _facts(frame)
        if shown is not None:
            self._facts["definition"] = [shown]
        self._taken = _read(self._file)

    def of(self, name: str, *files: Path) -> str:
        """The name for this run's figure or page `name`, which `files` would have without it."""
        first = self._taken.get(name, {} if any(file.exists() for file in files) else self._facts)
        chosen = name + "".join(f"-{_words(facet, self._facts)}" for facet in FACETS if self._differs(facet, first))
        self._taken[chosen] = self._facts
        return chosen

    def keep(self) -> None:
        """Remember the names given. Raises OutputError where the folder cannot be written."""
        write_file(self._file, json.dumps(self._taken, indent=1, sort_keys=True) + "\n")

    def _differs(self, facet: str, first: Facts) -> bool:
        return self._facts[facet] != first.get(facet)


def _facts(frame: pd.DataFrame) -> Facts:
    facts = {facet: sorted({str(value) for value in frame[facet].dropna()}) for facet in FACETS}
    if facts["resolution"]:  # noise has a name for its size, which the resolution has said
        facts["dataset"] = [name for name in facts["dataset"] if not name.startswith("noise:")]
    return facts


def _words(facet: str, facts: Facts) -> str:
    values = facts[facet]
    text = "+".join(values) or "none"
    if len(text) > LONGEST:
        text = f"{len(values)}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    shown = {"resolution": f"{text} px", "batch_size": f"batch {text}", "compile": f"compiled {text}"}
    return re.sub(r"[^A-Za-z0-9.+=]+", "_", shown.get(facet, text)).strip("_.")


def _read(file: Path) -> dict[str, Facts]:
    """What was remembered; nothing where the file is not there or not ours."""
    try:
        remembered: Any = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    good = isinstance(remembered, dict) and all(isinstance(facts, dict) for facts in remembered.values())
    return remembered if good else {}


WORTH_SAYING_S = 60.0


class Output:
    """One call of a command. With `as_json` standard output gets the rows and nothing else; `shown` is the definition
    that is drawn, where an analysis measures several."""

    def __init__(self, spec: AnalysisSpec, folder: Path, *, as_json: bool, shown: str | None = None) -> None:
        self.store, self._spec, self._shown = Store(folder), spec, shown
        self._as_json = as_json
        self._notes = Console(stderr=True)

    def run(
        self,
        make: Callable[[Store, Listener], Analysis],
        *,
        fresh: bool,
        alone: bool,
        matching: Matching | None = None,
        estimate: Estimate = lambda: None,
        dry_run: bool = False,
    ) -> None:
        """Run, and show what came of it.

        Args:
            make: the analysis, for a store and a listener.
            alone: whether time is measured, and bounded by a budget.
            matching: how the models were brought to one budget, if they were.
            estimate: about how many seconds it takes; None where that cannot be told.
            dry_run: only say what would be done, and about how long it takes.

        Raises:
            InputError, typer.Exit: after everything was shown, where no unit of work could be done, or some failed.
        """
        with ProgressLine(self._notes, left="at most {} left" if alone else "about {} left") as progress:
            analysis = make(Store(self.store.folder, dry_run=True) if dry_run else self.store, progress)
            if not self._announced(analysis, estimate, fresh=fresh, dry_run=dry_run):
                self._note_left_out({} if matching is None else matching.left_out)
                return
            report = analysis.run(fresh=fresh, matching=matching)
        frame = self.store.read(report.keys)
        frame.attrs["warnings"] = report.warnings
        frame.attrs["command"] = shlex.join(["stmbench", *sys.argv[1:]])
        good = frame[(frame["status"] != "failed") & ~frame["model"].isin(report.left_out)]
        above = unfit_warnings(report.warnings)
        for line in above:
            self.note(line, "bold red")
        if self._as_json:
            terminal.echo(rows_as_json(frame))
        elif len(good):
            self._print_table(frame)
        paths = self._draw(frame) if len(good) else {}
        for line in [*untrained(good), *faint_mixers(frame), *(line for line in report.warnings if line not in above)]:
            self.note(f"warning: {line}", "yellow")
        for line in report.failures:
            self.note(f"failed: {line}", "red")
        self._note_left_out(report.left_out)
        self.note(what_was_done(report))
        self.note("\n".join(f"{what:8} {shown(path)}" for what, path in {**paths, "rows": self.store.parts}.items()))
        end(report.undone, measured=bool(len(good)), note=lambda line: self.note(line, "red"))

    def _announced(self, analysis: Analysis, estimate: Estimate, *, fresh: bool, dry_run: bool) -> bool:
        """Say about how long it will take, if that is a minute or more, or if that is all that is wanted; returns
        whether to go on."""
        todo = fresh or not self.store.parts.is_dir() or not analysis.is_complete()
        seconds = estimate() if todo else 0.0
        if dry_run:
            where = shown(self.store.folder)
            about = "no estimate" if seconds is None else f"about {duration(seconds)}"
            terminal.echo(f"{about}, into {where}" if todo else f"{where} has all of it")
        elif seconds is not None and seconds >= WORTH_SAYING_S:
            self.note(f"about {duration(seconds)} (--dry-run says only this)", "dim")
        return not dry_run

    def note(self, text: str, style: str = "") -> None:
        """Print a line to standard error."""
        self._notes.print(Text(printable(text), style=style), soft_wrap=True)

    def _note_left_out(self, left_out: Mapping[str, object]) -> None:
        for model, reason in left_out.items():
            self.note(f"skipped: {model}: {reason}", "yellow")

    def _view(self, frame: pd.DataFrame) -> View:
        folder = self.store.folder
        return View(rows=frame, whole=lambda: read(folder), folder=folder, definition=self._shown)

    def _print_table(self, frame: pd.DataFrame) -> None:
        table = self._spec.view("terminal")
        if table is not None:
            # a pipe has no width of its own: the table gets the one it was laid out for
            terminal.console(TABLE_WIDTH).print(table(self._view(frame)))

    def _draw(self, frame: pd.DataFrame) -> dict[str, Path]:
        folder, draw = self.store.folder, self._spec.view("figures")
        names, analysis = RunNames(folder, frame, shown=self._shown), str(frame["analysis"].iloc[0])
        for name, figure in (draw(self._view(frame)) if draw is not None else {}).items():
            save(figure, folder / "figures" / names.of(name, folder / "figures" / f"{name}.svg"))
        page = folder / names.of(analysis, folder / f"{analysis}.html")
        (page,) = write_report(build_report(placed(frame, folder)), page)
        names.keep()
        return {"page": page, "figures": folder / "figures"}


def rows_as_json(frame: pd.DataFrame) -> str:
    """One JSON array, one row per line; null where a column is empty, times in ISO 8601."""
    times = frame["created_utc"].map(lambda time: time.isoformat())
    plain = frame.assign(created_utc=times).astype(object)
    records = plain.where(plain.notna(), None).to_dict("records")
    return "[\n" + ",\n".join(json.dumps(record, ensure_ascii=False) for record in records) + "\n]"


def what_was_done(report: Report) -> str:
    """One line on a run."""
    kept = f", {report.kept} taken from the store (--fresh measures them again)" if report.kept else ""
    failed = f", {len(report.failures)} failed" if report.failures else ""
    skipped = f", {len(report.left_out)} skipped" if report.left_out else ""
    units = "1 unit" if report.measured == 1 else f"{report.measured} units"
    return f"{units} of work measured{failed}{skipped}{kept}"


def untrained(frame: pd.DataFrame) -> list[str]:
    """A line that says which models have random weights; none where all are trained."""
    random = are_random(frame["weights"]) & (frame["analysis"] != "profile")
    names = list(dict.fromkeys(frame.loc[random, "model"].dropna()))
    if not names:
        return []
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return [f"untrained, weights are random init: {shown}; give weights with --checkpoint"]
