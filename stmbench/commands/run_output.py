"""What `stmbench run` shows: the plan, one progress display for all of it, and what came of it."""

from __future__ import annotations

import dataclasses
import importlib.util
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stmbench.analyses.models import mixers_of_this_process
from stmbench.commands import terminal
from stmbench.commands.analysis_output import TABLE_WIDTH, untrained
from stmbench.commands.report import overview
from stmbench.commands.session import end
from stmbench.commands.terminal import RunProgress
from stmbench.errors import ConfigError, InputError, printable
from stmbench.experiments.engines import Engine, LocalEngine, TaskProgress
from stmbench.experiments.engines.processes import ProcessEngine
from stmbench.experiments.experiment import Experiment
from stmbench.experiments.published import published_values
from stmbench.experiments.running import Run, RunReport
from stmbench.experiments.tasks import Estimator, Task, is_done, threads_of_tasks, total
from stmbench.figures import save
from stmbench.reporting import build_report, placed, write_report
from stmbench.reporting.build_report import figures, tables
from stmbench.reporting.caveats import faint_mixers
from stmbench.reporting.content import Section
from stmbench.reporting.cross_analysis import against_published_section, against_published_table
from stmbench.tables import Store
from stmbench.tables.published import compare_with_published
from stmbench.tables.rows import duration


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanLine:
    """One task: what, of which models, whether it is done, about how many seconds it takes, what it lacks."""

    title: str
    models: tuple[str, ...]
    done: bool
    seconds: float | None
    missing: str | None


def plan_table(
    heading: str, lines: Sequence[PlanLine], seconds: float, workers: int, about: Sequence[tuple[str, str]] = ()
) -> Table:
    """A row for each kind of task, and below it the time for all and what is missing; `about` stands above."""
    above = Text(heading)
    for name, text in about:
        above.append(f"\n{name.lower()}: {text}", style="not italic dim")
    table = Table(
        title=above,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        caption_justify="left",
    )
    table.add_column("what", no_wrap=True)
    for name in ("tasks", "models", "done", "to do", "missing", "about"):
        table.add_column(name, justify="right", no_wrap=True)
    for title in dict.fromkeys(line.title for line in lines):
        chosen = [line for line in lines if line.title == title]
        waiting = [line for line in chosen if not line.done and line.missing is None]
        times = [line.seconds for line in waiting if line.seconds is not None]
        table.add_row(
            title,
            str(len(chosen)),
            str(len({model for line in chosen for model in line.models})),
            str(sum(line.done for line in chosen)),
            str(len(waiting)),
            str(sum(line.missing is not None for line in chosen) or "–"),
            duration(sum(times)) if times else "–",
        )
    reasons = dict.fromkeys(line.missing for line in lines if line.missing)
    words = [f"about {duration(seconds)} with {workers} at a time"] if seconds else ["nothing to do"]
    words += [f"missing: {reason}" for reason in list(reasons)[:8]]
    words += [f"... and {len(reasons) - 8} more"] if len(reasons) > 8 else []
    table.caption = Text("\n".join(words), style="dim")
    return table


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
        todo = sum(not task.alone and task.missing is None for task in self.tasks)
        self.workers = max(1, min(workers, todo))
        here = mixers_of_this_process(model for task in self.tasks for model in task.models)
        if self.workers > 1 and here:
            got = f"{here[0]}, which this process alone knows, with {self.workers} workers"
            raise ConfigError("mixers that other processes can load", got, "write it into a file, or use --workers 1")
        self._notes = Console(stderr=True)

    def show_plan(self) -> None:
        """What would be done, on standard output."""
        console = terminal.console(TABLE_WIDTH)
        done = self._done()
        estimates = self._estimates(done)
        lines = [
            PlanLine(
                title=task.title,
                models=task.models,
                done=done[task.name],
                seconds=estimates[task.name],
                missing=task.missing,
            )
            for task in self.tasks
        ]
        todo = [task for task in self.tasks if not done[task.name] and task.missing is None]
        seconds = total(todo, estimates, self.workers)
        console.print(plan_table(self.experiment.heading, lines, seconds, self.workers, self.experiment.about))
        if self.file and any(task.missing for task in self.tasks) and not self.experiment.miniature:
            self._note(f"the miniature needs nothing: stmbench run {shlex.quote(str(self.file))} --mini")

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
                estimates = self._estimates(self._done())
                if progress and self.file and any(estimates.values()):
                    seconds = total(self.tasks, {name: found or 0.0 for name, found in estimates.items()}, self.workers)
                    self._note(f"about {duration(seconds)} with {self.workers} at a time")
                run = Run(self.tasks, made, self.folder, estimates=estimates, tell=display, deadline=self.deadline)
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

    def _done(self) -> dict[str, bool]:
        """Whether the store has all of a task. Raises TableError for a store of a newer schema."""
        Store(self.folder).keys()
        return {task.name: not task.fresh and is_done(task, self.folder) for task in self.tasks}

    def _estimates(self, done: dict[str, bool]) -> dict[str, float | None]:
        estimator = Estimator(self.tasks[0].device, threads_of_tasks(self.workers))
        return {task.name: None if task.missing or done[task.name] else estimator.seconds(task) for task in self.tasks}

    def _show(self, frame: pd.DataFrame, report: RunReport) -> None:
        console = terminal.console(TABLE_WIDTH)
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
        kept = f", {len(report.reused)} taken from the store" if report.reused else ""
        self._note(f"{len(report.results)} tasks done: {len(report.made)} units of work measured{kept}")
        frame.attrs["about"] = self.experiment.about
        frame.attrs["command"] = shlex.join(["stmbench", *sys.argv[1:]])
        first = (against_published_section(beside),) if len(beside) else ()
        first = (*self.first(frame, report), *first)
        content = build_report(placed(self.pictured(frame), self.folder), title=self.experiment.heading, first=first)
        formats = ("html", "pdf") if importlib.util.find_spec("typst") else ("html",)
        for path in write_report(content, self.folder / "report", formats):
            self._note(f"report   {path}")
        self._note(f"figures  {folder}\nrows     {self.folder / 'parts'}")
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
        self._notes.print(Text(printable(text), style=style), soft_wrap=True)
