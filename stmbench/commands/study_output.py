"""What `stmbench study` does and shows: the contract, the plan, one progress display, and the verdict first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stmbench.analyses.models import facts_of
from stmbench.analyses.registry import ANALYSES
from stmbench.commands.check import outcomes_of
from stmbench.commands.run import workers_of
from stmbench.commands.run_output import RunOutput
from stmbench.comparison.models import ModelComparison, training_seeds
from stmbench.errors import ConfigError
from stmbench.experiments.estimating import Estimator, threads_of_tasks, total
from stmbench.experiments.planning import Resources, plan
from stmbench.experiments.running import RunReport
from stmbench.experiments.tasks import Task
from stmbench.mixers.base import MIXERS
from stmbench.plugins import load_plugin
from stmbench.reporting import content
from stmbench.reporting.content import Section
from stmbench.reporting.overview import verdict_section
from stmbench.studies.budget import REPORT_S, Plan, chosen, fit
from stmbench.studies.design import Design, Effort, design
from stmbench.studies.files import IMAGENET, imagenet_experiment, keep_plan, kept_plan
from stmbench.studies.options import StudyOptions
from stmbench.tables.comparison_result import Finding
from stmbench.tables.files import write_file
from stmbench.tables.labels import duration

STYLES = {"better": "green", "worse": "bold red", "inconclusive": "yellow", "failed": "red"}


def mixer_of(target: str, *, anyway: bool = False) -> tuple[str, list[Path]]:
    """The mixer that a file registers, or of this name; and the file.

    Raises:
        ConfigError: a file without a mixer, or with several; a mixer that fails a check, unless `anyway`.
    """
    if target in MIXERS:
        name, files = target, []
    elif ":" in target and not Path(target).exists():
        return target, []  # a detector, which the options refuse
    elif not target.endswith(".py") and not Path(target).exists():
        return MIXERS.get(target).name, []  # says which names are near
    else:
        files = [Path(target)]
        names = load_plugin(target).registered.get("mixer", ())
        if len(names) != 1:
            got = ", ".join(names) or "none"
            remedy = "give the name of one, and the file as --plugin" if names else "see stmbench new mixer"
            raise ConfigError(f"one mixer in {target}", got, remedy)
        name = names[0]
    entry = MIXERS.get(name)
    if not anyway and (entry.plugin_sha256 or entry.is_of_this_process):
        failed = [item.check for kind, _, found in outcomes_of(name, ()) for item in found if item.status == "failed"]
        if failed:
            remedy = f"see stmbench check {target}, or add --anyway"
            raise ConfigError(f"a mixer that keeps its contract in {target}", f"failed: {', '.join(failed)}", remedy)
    return name, files


def analyses_of(files: Sequence[Path]) -> tuple[str, ...]:
    """The analyses that plug-in files register: a study measures them too."""
    names = [name for file in files for name in load_plugin(file).registered.get("analysis", ())]
    return tuple(name for name in names if ANALYSES.get(name).options is not None)


class StudyOutput(RunOutput):
    """One call of the command."""

    design: Design
    plan: Plan
    options: StudyOptions
    plugins: Sequence[Path]
    _compared: tuple[pd.DataFrame, dict[str, tuple[Finding, ...]]] | None = None

    @classmethod
    def of(
        cls,
        options: StudyOptions,
        *,
        plugins: Sequence[Path],
        folder: Path,
        workers: int | str,
        device: str,
        fresh: bool = False,
        began: float,
    ) -> StudyOutput:
        """The study, planned. Raises what its names, its data and its budget raise.

        Args:
            began: of the monotonic clock: the budget counts from here.
        """
        made, resources = design(options), Resources(device=device)
        number = workers_of(str(workers))
        estimator = Estimator(device, threads_of_tasks(number))

        def tasks_of(effort: Effort) -> list[Task]:
            tasks = plan(made.experiment(effort), resources, plugins=tuple(map(str, plugins)), fresh=fresh)
            return chosen(tasks, effort)

        def seconds(effort: Effort) -> float:
            tasks = tasks_of(effort)
            return total(tasks, {task.name: estimator.seconds(task) for task in tasks}, number)

        planned = kept_plan(folder, options) or fit(options.seeds, options.budget, seconds, options.analyses)
        if not planned.fits:
            asked = duration(options.budget or 0)
            raise ConfigError(
                f"a budget of at least {duration(1.25 * planned.seconds)} for {len(made.models)} models here",
                asked,
                "change --budget, name fewer mixers with --against, or choose a smaller --scale",
            )
        deadline = None if options.budget is None else began + options.budget - REPORT_S
        output = cls(
            made.experiment(planned.effort), tasks_of(planned.effort), folder, workers=number, file=None,
            deadline=deadline,
        )  # fmt: skip
        output.design, output.plan, output.options, output.plugins = made, planned, options, plugins
        return output

    def show_plan_for_study(self) -> None:
        """What will be done, in how much time, and what is left out."""
        self.show_plan()
        for line in self._left_out():
            self._note(line, "yellow")

    def prepare(self) -> None:
        """Write the plan, which another call resumes, and the experiment that would repeat the study on ImageNet."""
        self.folder.mkdir(parents=True, exist_ok=True)
        keep_plan(self.folder, self.options, self.plan)
        write_file(self.folder / IMAGENET, imagenet_experiment(self.options, self.plugins, self.folder))

    def findings(self, frame: pd.DataFrame) -> dict[str, tuple[Finding, ...]]:
        """Title of each baseline -> what compares the mixer with it; compared once for a frame."""
        if self._compared is None or self._compared[0] is not frame:
            baselines, model = self.design.baselines, self.design.model
            pairs = ModelComparison(frame, self.folder)
            found = {self._title(name): pairs.findings(model, name) for name in baselines}
            self._compared = frame, found
        return self._compared[1]

    def _verdict(self, frame: pd.DataFrame, notes: Sequence[str] = ()) -> Section:
        return verdict_section(self._title(self.design.model), self.findings(frame), notes)

    def _show_tables(self, frame: pd.DataFrame, console: Console) -> None:
        """The verdict: what else was measured is on the page."""
        console.print(Text(f"\n{self.design.title}", style="bold"))
        console.print(printed(self._verdict(frame).tables[0]))

    def pictured(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Pictures show each model once, as its first training made it; curves of training show all."""
        later = {weights for (_, weights), seed in training_seeds(frame).items() if seed > 0}
        shown = frame[~(frame["weights"].isin(later) & (frame["analysis"] != "train"))]
        shown.attrs = frame.attrs
        return shown

    def first(self, frame: pd.DataFrame, report: RunReport) -> tuple[Section, ...]:
        notes = [*self.design.notes, *self._left_out()]
        if report.left_out:
            notes.append(f"Left out when time ran short: {', '.join(report.left_out)}.")
        if self.options.seeds > 1:
            notes.append("Figures below show the first training of each model; the verdict uses all.")
        return (self._verdict(frame, notes),)

    def _left_out(self) -> list[str]:
        left = self.plan.left_out
        return [f"Left out to end in {duration(self.options.budget or 0)}: {'; '.join(left)}."] if left else []

    def _title(self, model: str) -> str:
        entry = facts_of(model).entry
        return entry.title if entry is not None else model


def printed(table: content.Table) -> Table:
    """The page's table for a terminal: conditions are on the page, verdicts have their colours."""
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for place, column in enumerate(table.columns):
        shown.add_column(column.heading if place else "", justify="right" if column.is_number else "left")
    for line in table.lines:
        quantity, value, *verdicts = line.cells
        cells = [Text(cell.text, style=STYLES.get(cell.text, "")) for cell in verdicts]
        for text, cell in zip(cells, verdicts, strict=True):
            text.append(f"\n{cell.detail}" if cell.detail else "", style="not bold dim")
        shown.add_row(Text(quantity.text), value.text, *cells)
    return shown
