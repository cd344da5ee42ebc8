"""The contract of an analysis as checks: `stmbench check FILE` runs them on a user's, the tests on built-in ones.

A nano model looks at four digits, so that the checks take seconds. A check whose prerequisite failed is skipped.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, get_type_hints

import pandas as pd

from stmbench.analyses.options import Options, RunSettings, element_type, help_of, scalar_type
from stmbench.analyses.registry import AnalysisSpec, specs
from stmbench.analyses.unit import Report
from stmbench.errors import InputError
from stmbench.mixers.conformance import Outcome
from stmbench.tables import Store
from stmbench.tables.schema import check as check_schema

MODEL: Final = "unified_dw_conv_nano"
PROMISES: Final = {  # check -> (what is promised, how to keep it, the check that has to pass first)
    "options": ("the options make a command and a function, and each has a help text",
                "make each field with option(default, help=...), and give it a name that no shared option has", None),
    "refuses_nonsense": ("options without sense are refused before anything is measured",
                         "give option(least=..., most=...), or use require(...) in __post_init__", "options"),
    "runs": ("a nano model on four digits gives rows, and no unit fails", "correct what the unit raises", "options"),
    "resumes": ("a second run measures nothing and gives the same rows",
                "make a unit's conditions of options alone: no time, no path, no random number", "runs"),
    "rows": ("rows have registered metrics in their units, and at least one is a summary",
             "make rows with self.interval_row or self.image_row, and list their metrics in the AnalysisSpec", "runs"),
    "seeds": ("the same seed gives the same values, another one gives others unless the options say deterministic",
              "draw with self.seed, or set `deterministic: ClassVar[bool] = True` in the options", "runs"),
    "draws": ("terminal table, figures and section draw from rows alone",
              "use nothing but view.rows and files in view.folder; keep nothing from the measurement", "rows"),
    "shows_every_row": ("every summary row is in a table or a figure of the section",
                        "add its metric to a table of the section", "draws"),
}  # fmt: skip


class _BrokenPromiseError(Exception):
    """The text says what was found."""


class _NotApplicableError(Exception):
    """The text says why."""


@dataclasses.dataclass(kw_only=True)
class _Examined:
    """An analysis, a folder for its stores, and the results that later checks use."""

    spec: AnalysisSpec
    folder: Path
    plugins: tuple[str, ...]
    interfaces: tuple[Callable[[AnalysisSpec], object], ...]
    complaints: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def kind(self) -> type[Options]:
        assert self.spec.options is not None
        return self.spec.options

    @property
    def model(self) -> str:
        """A detector for an analysis of detectors."""
        is_of_detectors = any(other.of_detectors == self.spec.name for other in specs())
        return f"fasterrcnn:{MODEL}" if is_of_detectors else MODEL

    def made(self, **given: Any) -> Options:
        """The options of a small run."""
        return self.kind(**{**self.kind.small, **given})

    def run(self, store: str, *, seed: int = 0) -> tuple[Report, pd.DataFrame]:
        """One run into a store of the folder, and the rows of that run."""
        where = Store(self.folder / store)
        settings = RunSettings(models=(self.model,), seed=seed, device="cpu", plugins=self.plugins)
        report = self.made().analysis(settings, where).run()
        return report, where.read(report.keys)


def conform(
    spec: AnalysisSpec,
    *,
    plugins: Iterable[str] = (),
    interfaces: Iterable[Callable[[AnalysisSpec], object]] = (),
    checks: Iterable[str] = PROMISES,
) -> list[Outcome]:
    """Outcomes of the checks and of those that they need, in the order of `PROMISES`.

    Args:
        plugins: files that a new process has to load to know the analysis.
        interfaces: what is made of an entry, such as its command; making them must not fail.
    """
    if spec.options is None:
        why = "it has no options, so no command measures it"
        return [Outcome(check=name, status="skipped", promise=PROMISES[name][0], found=why) for name in PROMISES]
    outcomes: dict[str, Outcome] = {}
    with tempfile.TemporaryDirectory(prefix="stmbench-check-") as folder:
        examined = _Examined(spec=spec, folder=Path(folder), plugins=tuple(plugins), interfaces=tuple(interfaces))
        for name in _with_needed(checks):
            first = PROMISES[name][2]
            if first is not None and outcomes[first].status != "passed":
                outcomes[name] = _outcome(name, "skipped", f"needs {first} to pass")
            else:
                outcomes[name] = _examine(name, examined)
    return list(outcomes.values())


def _with_needed(checks: Iterable[str]) -> list[str]:
    wanted: set[str] = set()
    for name in checks:
        step: str | None = name
        while step is not None:
            wanted.add(step)
            step = PROMISES[step][2]
    return [name for name in PROMISES if name in wanted]


def _examine(name: str, examined: _Examined) -> Outcome:
    try:
        _CHECKS[name](examined)
    except _NotApplicableError as reason:
        return _outcome(name, "skipped", str(reason))
    except _BrokenPromiseError as error:
        return _outcome(name, "failed", str(error))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # code of others: whatever it raises is what the check found
        return _outcome(name, "failed", f"{type(error).__name__}: {' '.join(str(error).split())}")
    return _outcome(name, "passed", "")


def _outcome(name: str, status: Any, found: str) -> Outcome:
    promise, remedy, _ = PROMISES[name]
    return Outcome(check=name, status=status, promise=promise, found=found, remedy=remedy if status == "failed" else "")


def _options(examined: _Examined) -> None:
    kind = examined.kind
    for field in dataclasses.fields(kind):
        if not help_of(field).help.strip():
            raise _BrokenPromiseError(f"{field.name} has no help text")
    for make in examined.interfaces:
        make(examined.spec)
    examined.made()


def _refuses_nonsense(examined: _Examined) -> None:
    hints = get_type_hints(examined.kind)
    for field in dataclasses.fields(examined.kind):
        for value in _nonsense(hints[field.name]):
            try:
                options = examined.made(**{field.name: value})
                options.analysis(RunSettings(models=(examined.model,)), Store(examined.folder / "refused"))
            except InputError:
                continue
            raise _BrokenPromiseError(f"{field.name}={value!r} is accepted")


def _nonsense(hint: Any) -> Iterator[Any]:
    """Values that no option of this type can mean."""
    element = element_type(hint)
    of = scalar_type(hint) if element is None else element
    values: dict[type, tuple[Any, ...]] = {int: (-(10**9),), float: (float("nan"), float("inf"))}
    for value in values.get(of, ()):
        yield value if element is None else (value,)


def _runs(examined: _Examined) -> None:
    report, rows = examined.run("first")
    if report.failures:
        raise _BrokenPromiseError(report.failures[0])
    if not report.keys or rows.empty:
        raise _BrokenPromiseError("no row was written")


def _resumes(examined: _Examined) -> None:
    before = Store(examined.folder / "first").read()
    report, rows = examined.run("first")
    if report.made:
        raise _BrokenPromiseError(f"{len(report.made)} of {len(report.keys)} units were measured again")
    if not _same(before, rows):
        raise _BrokenPromiseError("the rows differ")


def _same(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether two tables hold the same, apart from when they were made."""
    left, right = (_in_order(frame.drop(columns=["run_id", "created_utc"])) for frame in (one, other))
    return left.equals(right)


def _in_order(frame: pd.DataFrame) -> pd.DataFrame:
    texts = ["|".join(map(str, row)) for row in frame.itertuples(index=False)]
    return frame.iloc[sorted(range(len(texts)), key=texts.__getitem__)].reset_index(drop=True)


def _rows(examined: _Examined) -> None:
    rows, spec = check_schema(Store(examined.folder / "first").read(), "the store"), examined.spec
    units = {metric.name: metric.unit for metric in spec.metrics}
    for metric, unit, name in rows[["metric", "unit", "analysis"]].drop_duplicates().itertuples(index=False):
        if metric not in units:
            raise _BrokenPromiseError(
                f"the metric {metric!r} is not in the entry's metrics: {', '.join(units) or 'none'}"
            )
        if unit != units[metric]:
            raise _BrokenPromiseError(f"{metric} in {unit!r}, registered in {units[metric]!r}")
        if name not in spec.writes:
            raise _BrokenPromiseError(f"the column analysis says {name!r}, the entry {', '.join(spec.writes)}")
    if not (rows["kind"] == "summary").any():
        raise _BrokenPromiseError("no summary row")


def _seeds(examined: _Examined) -> None:
    if examined.kind.alone:
        raise _NotApplicableError("it measures time, which no seed repeats")
    first = Store(examined.folder / "first").read()
    if not _same_values(first, examined.run("again")[1]):
        raise _BrokenPromiseError("the same seed gave other values")
    same = _same_values(first, examined.run("other", seed=1)[1])
    if same and not examined.kind.deterministic:
        raise _BrokenPromiseError("another seed gave the same values")
    if not same and examined.kind.deterministic:
        raise _BrokenPromiseError("the options say deterministic, and another seed gave other values")


def _same_values(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    columns = ["metric", "condition", "level", "stage", "block", "position", "sample", "value"]
    left, right = (_in_order(frame[columns]) for frame in (one, other))
    return left.equals(right)


def _draws(examined: _Examined) -> None:
    # a store that has moved, in a process that has measured nothing
    moved = (examined.folder / "first").rename(examined.folder / "moved")
    words = [examined.spec.name, str(moved), *examined.plugins]
    done = subprocess.run(
        [sys.executable, "-m", "stmbench.reporting.drawing_check", *words], capture_output=True, text=True
    )
    if done.returncode != 0:
        raise _BrokenPromiseError((done.stderr.strip().splitlines() or ["the process ended"])[-1])
    examined.complaints = json.loads(done.stdout.splitlines()[-1])
    for what, found in examined.complaints.items():
        if what != "rest":
            raise _BrokenPromiseError(f"{what}: {found}")


def _shows_every_row(examined: _Examined) -> None:
    if examined.spec.section is None:
        raise _NotApplicableError("it has no section: a report shows its rows in a plain table")
    if "rest" in examined.complaints:
        raise _BrokenPromiseError(f"not shown: {examined.complaints['rest']}")


_CHECKS: Final[dict[str, Callable[[_Examined], None]]] = {
    "options": _options,
    "refuses_nonsense": _refuses_nonsense,
    "runs": _runs,
    "resumes": _resumes,
    "rows": _rows,
    "seeds": _seeds,
    "draws": _draws,
    "shows_every_row": _shows_every_row,
}
