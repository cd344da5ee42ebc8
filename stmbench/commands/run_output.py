"""What `stmbench run` shows: the plan, one progress display for all of it, and what came of it."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.text import Text

from stmbench.analyses.base import REPAIRED
from stmbench.analyses.models import mixers_of_this_process
from stmbench.commands import terminal
from stmbench.commands.addresses import shown
from stmbench.commands.analysis_output import untrained
from stmbench.commands.plan_output import estimated, show_plan, tasks_done, workers_for
from stmbench.commands.report import overview
from stmbench.commands.session import end
from stmbench.commands.terminal import TABLE_WIDTH, RunProgress
from stmbench.errors import ConfigError, InputError, printable
from stmbench.experiments.engines import Engine, LocalEngine, TaskProgress
from stmbench.experiments.engines.processes import ProcessEngine
from stmbench.experiments.estimating import total
from stmbench.experiments.experiment import Experiment
from stmbench.experiments.published import published_values
from stmbench.experiments.running import Run, RunReport
from stmbench.experiments.tasks import Task
from stmbench.figures import save
from stmbench.reporting import build_report, placed, write_report
from stmbench.reporting.build_report import figures, tables
from stmbench.reporting.caveats import faint_mixers
from stmbench.reporting.content import Section
from stmbench.reporting.cross_analysis import against_published_section, against_published_table
from stmbench.tables import Store
from stmbench.tables.labels import duration
from stmbench.tables.published import compare_with_published

SHOWN = 10  # lines of one kind


class RunOutput:
    """One call of the command."""

    def __init__(
        self,
        experiment: Experiment,
        tasks: Sequence[Task],
        folder: Path,
        *,
        workers: int,
        file: Path | None,
        deadline: float | None = None,
        baseline: str | None = None,
    ) -> None:
        self.experiment, self.tasks, self.folder, self.file = experiment, list(tasks), folder, file
        self.deadline, self.baseline = deadline, baseline  # the deadline is of the monotonic clock
        self.workers = workers_for(self.tasks, workers)
        here = mixers_of_this_process(model for task in self.tasks for model in task.models)
        if self.workers > 1 and here:
            got = f"{here[0]}, which this process alone knows, with {self.workers} workers"
            raise ConfigError("mixers that other processes can load", got, "write it into a file, or use --workers 1")
        self._notes = Console(stderr=True)
        self._said: list[tuple[str, str]] = []
        self.shown: dict[str, Any] = {}  # tables and notes, for the run's receipt
        self.repaired = False  # whether a part of the store was damaged, which the next run would not say again

    def show_plan(self) -> None:
        """What would be done, on standard output."""
        show_plan(self.experiment, self.tasks, self.folder, workers=self.workers, file=self.file)

    def run(self, engine: str, address: str | None) -> None:
        """Do it all, and show it. Raises InputError, in the end, where nothing could be done."""
        self._show(*self.measure(engine, address))

    def measure(self, engine: str, address: str | None, *, progress: bool = True) -> tuple[pd.DataFrame, RunReport]:
        """Do it all; returns the rows and what was done. Raises InputError for what nothing can be done of."""
        todo = [task for task in self.tasks if task.missing is None]
        if not todo:
            reasons = list(dict.fromkeys(task.missing for task in self.tasks if task.missing))
            remedy = "see the plan with --dry-run" + (f", or try --mini of {self.file.name}" if self.file else "")
            raise InputError("what the experiment needs", f"it lacks {'; '.join(reasons[:3])}", remedy)
        store = Store(self.folder).require_writable()
        with RunProgress(self._notes if progress else Console(quiet=True)) as display:
            runs: list[Run] = []

            def tell(event: TaskProgress) -> None:
                runs[0].hear(event)

            with self._engine(engine, address, tell) as made:
                done = tasks_done(self.tasks, self.folder)
                here = engine != "ray"  # the speed of this machine says nothing of a cluster's
                workers = self.workers if here else made.slots
                estimates = estimated(self.tasks, done, workers, measured=here)
                if progress and self.file and any(estimates.values()):
                    seconds = total(self.tasks, {name: found or 0.0 for name, found in estimates.items()}, workers)
                    self._note(f"about {duration(seconds)} with {workers} at a time")
                run = Run(
                    self.tasks,
                    made,
                    self.folder,
                    estimates=estimates,
                    tell=display,
                    done={name for name, is_done in done.items() if is_done},
                    deadline=self.deadline,
                )
                runs.append(run)
                report = run.run()
        return store.read(), report

    def _engine(self, name: str, address: str | None, tell: object) -> Engine:
        if name == "ray":
            from stmbench.experiments.engines.ray import RayEngine

            return RayEngine(self.folder, address)
        if self.workers == 1:
            return LocalEngine(self.folder, tell)  # type: ignore[arg-type]
        return ProcessEngine(self.folder, self.workers)

    def _show(self, frame: pd.DataFrame, report: RunReport) -> None:
        console = terminal.console(TABLE_WIDTH, record=True)
        self._said.clear()
        self._show_tables(frame, console)
        beside = compare_with_published(frame, published_values(self.experiment))
        if len(beside):
            console.print(Text("\nmeasured and published", style="bold"))
            console.print(against_published_table(beside))
            beside.to_csv(self.folder / "published.csv", index=False)
        folder = self.folder / "figures"
        for name, figure in figures(self.pictured(frame), self.folder).items():
            save(figure, folder / name)
        if self.experiment.miniature:
            self._note(
                f"a miniature of {self.experiment.title}: its numbers are not those of the whole experiment", "yellow"
            )
        self._lines("warning", [*untrained(frame), *faint_mixers(frame), *report.warnings], "yellow")
        self._lines("skipped", [f"{name}: {reason}" for name, reason in report.skipped.items()], "yellow")
        self._lines("left out", list(report.left_out), "yellow")
        self._lines("failed", report.failures, "red")
        count = len(report.results)
        self._note(_count_line(count, len(report.made), len(report.reused)))
        self._said[-1] = _count_line(count, 0, len(report.made) + len(report.reused)), ""  # what the next run will say
        self.repaired = any(line.startswith(REPAIRED) for line in report.warnings)
        frame.attrs["about"] = self.experiment.about
        frame.attrs["command"] = shlex.join(["stmbench", *sys.argv[1:]])
        first = (against_published_section(beside),) if len(beside) else ()
        first = (*self.first(frame, report), *first)
        content = build_report(placed(self.pictured(frame), self.folder), title=self.experiment.heading, first=first)
        formats = ("html", "pdf") if importlib.util.find_spec("typst") else ("html",)
        for path in write_report(content, self.folder / "report", formats):
            self._note(f"report   {shown(path)}")
        self._note(f"figures  {shown(folder)}\nrows     {shown(self.folder / 'parts')}")
        styled = console.export_text(clear=False, styles=True)
        plain = console.export_text()
        self.shown = {"plain": plain, "styled": styled, "width": console.width, "notes": self._said}
        undone = [*report.failures, *(f"{name}: {reason}" for name, reason in report.skipped.items())]
        end(undone, measured=any(r.measured + r.kept for r in report.results), note=self._error)

    def _show_tables(self, frame: pd.DataFrame, console: Console) -> None:
        """Every analysis's table."""
        for analysis, table in tables(frame):
            console.print(Text(f"\n{analysis}", style="bold"))
            console.print(table)

    def pictured(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows that figures and sections are made of."""
        return frame

    def first(self, frame: pd.DataFrame, report: RunReport) -> tuple[Section, ...]:
        """Sections that stand before all others: the models against the baseline, or the control if it is there."""
        models = set(frame["model"].dropna())
        named = [name for name in (self.baseline, self.experiment.control) if name in models]
        return overview(placed(frame, self.folder), named[0] if named else None)

    def _lines(self, word: str, lines: Sequence[str], style: str) -> None:
        for line in lines[:SHOWN]:
            self._note(f"{word}: {line}", style)
        if len(lines) > SHOWN:
            self._note(f"{word}: ... and {len(lines) - SHOWN} more, see the rows", style)

    def _error(self, line: str) -> None:
        self._note(line, "red")

    def _note(self, text: str, style: str = "") -> None:
        self._said.append((printable(text), style))
        self._notes.print(Text(printable(text), style=style), soft_wrap=True)


def _count_line(tasks: int, made: int, reused: int) -> str:
    kept = f", {reused} taken from the store" if reused else ""
    return f"{tasks} tasks done: {made} units of work measured{kept}"
