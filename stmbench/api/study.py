"""`stmbench.study`: from a new mixer to an answer."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stmbench.api.analyses import in_python, listed
from stmbench.api.results import StoreResult
from stmbench.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from stmbench.reporting.content import Section
    from stmbench.tables.comparison_result import Finding


class StudyResult(StoreResult):
    """The rows of a study, and its verdict.

    Attributes:
        findings: title of each baseline -> what compares the mixer with it.
        verdict: the same as a frame: a row for each quantity and baseline, with the effect and its 95 % interval.
    """

    title = "Study"

    def __init__(
        self,
        store: Path,
        table: pd.DataFrame,
        failures: Iterable[str],
        warnings: Iterable[str],
        findings: Mapping[str, Sequence[Finding]],
        first: Sequence[Section],
    ) -> None:
        import pandas as pd

        super().__init__(store, table, failures, warnings)
        self.findings, self._first = findings, tuple(first)
        self.verdict = pd.DataFrame(
            [{"baseline": name, **dataclasses.asdict(item)} for name, found in findings.items() for item in found]
        )

    def report(self, path: str | Path = "report.html", *, baseline: str | None = None) -> Path:
        """Write the study's page; the suffix says which kind: .html, .pdf, .md or .tex. Returns its path.

        With `baseline`, a model or its mixer, all models against it follow the verdict.
        """
        from stmbench.commands.report import overview
        from stmbench.reporting import build_report, placed, write_report

        frame = placed(self.table, self.store)
        more = () if baseline is None else overview(frame, baseline)
        content = build_report(frame, title=self.title, first=(*self._first, *more))
        (written,) = write_report(content, Path(path))
        return written

    def _shown_table(self) -> tuple[pd.DataFrame, Sequence[Hashable]]:
        import pandas as pd

        from stmbench.reporting.overview import effect_text, title_of, value_text

        rows = [
            (title_of(item), name, item.verdict, *("–" if value is None else value_text(value, item)
             for value in (item.head, item.base)), effect_text(item))
            for name, items in self.findings.items() for item in items
        ]  # fmt: skip
        columns = ["quantity", "baseline", "verdict", "mixer's value", "baseline's value", "effect (95 % interval)"]
        return pd.DataFrame(rows, columns=columns), columns[3:]


def study(
    mixer: str | Path,
    *,
    against: str | Sequence[str] = (),
    dataset: str | Path = "digits",
    scale: str = "nano",
    seeds: int = 3,
    budget: str | float | None = None,
    anyway: bool = False,
    workers: int | str = 1,
    plugins: str | Path | Sequence[str | Path] = (),
    device: str = "auto",
    fresh: bool = False,
    out: str | Path | None = None,
    progress: bool = True,
) -> StudyResult:
    """Compare a mixer with others: from a file of code, or a class registered here, to an answer.

    Args:
        mixer: a Python file that registers a mixer, or the name of a registered one.
        against: mixers to compare with; default: dw_conv and halo_attn.
        dataset: digits, shapes, or a labelled folder with train and test.
        scale: of all models.
        seeds: trainings of each model.
        budget: "20m", "1h30m", or seconds: what does not fit is left out; default: all of it.
        anyway: study a mixer that fails checks of its contract.
        workers: processes on this machine; "auto": one for each core, up to 8; 1: this process.
        plugins: Python files or folders that register mixers, models or analyses; the analyses are measured too.
        device: auto, cpu, cuda or cuda:N.
        fresh: do again what the store already holds.
        out: the store; default: results/study_MIXER.
        progress: whether to show how far the study is.
    """
    began = time.monotonic()
    from stmbench.commands.study_output import StudyOutput, analyses_of, mixer_of
    from stmbench.commands.values import device as device_of
    from stmbench.commands.values import scale as known_scale
    from stmbench.plugins import load_plugins
    from stmbench.studies.options import BASELINES, StudyOptions, seconds_of
    from stmbench.tables.addresses import fetched_store, sent_at_the_end

    try:
        given = [Path(file) for file in listed(plugins)]
        load_plugins(given)
        name, own = mixer_of(str(mixer), anyway=anyway)
        files = [*own, *given]
        options = StudyOptions(
            mixer=name,
            baselines=tuple(listed(against)) or BASELINES,
            dataset=str(dataset),
            scale=known_scale(scale),
            seeds=seeds,
            budget=None if budget is None else seconds_of(str(budget)),
            analyses=analyses_of(files),
        )
        output = StudyOutput.of(
            options,
            plugins=files,
            folder=Path("results") / f"study_{name}" if out is None else fetched_store(out),
            workers=workers,
            device=device_of(device),
            fresh=fresh,
            began=began,
        )
        with sent_at_the_end():
            output.prepare()
            frame, report = output.measure("local", None, progress=progress)
    except InputError as error:
        raise in_python(error) from None
    result = StudyResult(
        output.folder, output.pictured(frame), report.failures, report.warnings, output.findings(frame),
        output.first(frame, report),
    )  # fmt: skip
    result.title = output.design.title
    return result
