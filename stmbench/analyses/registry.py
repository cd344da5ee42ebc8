"""The registry of analyses: one entry says all that the rest of the project needs to know of an analysis.

The command line, the Python API, the steps of an experiment, the report, the figures of a store, the history and the
table's units are made from these entries. A folder below `stmbench.analyses` registers itself when it is imported; a
plug-in and an entry point in the group `stmbench.analyses` do the same. Nothing here imports torch or pandas.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from stmbench.errors import DuplicateNameError
from stmbench.registry import Registry

if TYPE_CHECKING:
    import pandas as pd

    from stmbench.analyses.options import Options

Reference = str  # 'package.module:attribute', imported when it is needed


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tracking:
    """How a metric is followed from commit to commit.

    Attributes:
        relative: its noise is a share of its value, so change points are looked for in logarithms.
        exact: counted rather than measured: every change is a change point.
        by_probe: a speed, which is corrected by the probe measured alongside it.
        smallest: the smallest change worth reporting: a share where `relative`, else in base units.
        condition: of several conditions (percentiles, say), the one that is followed.
    """

    relative: bool = False
    exact: bool = False
    by_probe: bool = False
    smallest: float = 0.0
    condition: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric:
    """What the rows of one metric hold, and how people see it.

    Attributes:
        name: in the table's column `metric`.
        unit: the base unit, one of `tables.schema.UNITS`.
        title: its name for readers; default: `name` in words.
        shown_unit: the unit for readers; default: the base unit.
        factor: base units in one shown unit: 1e9 where MACs are shown as GMACs.
        decimals: that are shown.
        before_level: what stands between the title and a row's level: ERF@50.
        better: which direction is an improvement.
        tracking: how a history follows it; None: a history leaves it out.
    """

    name: str
    unit: str
    title: str = ""
    shown_unit: str | None = None
    factor: float = 1.0
    decimals: int = 3
    before_level: str = " "
    better: Literal["higher", "lower", "neither"] = "neither"
    tracking: Tracking | None = None


POINT: Final = 0.005  # half a percentage point
OF_QUALITY: Final = Tracking(smallest=POINT)


def percentage(name: str, title: str, *, tracked: bool = False) -> Metric:
    """A share that is shown in per cent, of which more is better."""
    return Metric(
        name=name,
        unit="1",
        title=title,
        shown_unit="%",
        factor=0.01,
        decimals=1,
        better="higher",
        tracking=OF_QUALITY if tracked else None,
    )


def share(name: str, title: str) -> Metric:
    """A share that is shown in per cent, of which more is neither better nor worse."""
    return dataclasses.replace(percentage(name, title), better="neither")


ACCURACY: Final = percentage("accuracy", "accuracy", tracked=True)
ACCURACY_TOP5: Final = percentage("accuracy_top5", "top-5 accuracy", tracked=True)
AT_K: Final = " at k = "
KNN_ACCURACY: Final = dataclasses.replace(percentage("knn_accuracy", "kNN accuracy", tracked=True), before_level=AT_K)
CONSISTENCY: Final = percentage("consistency", "consistency")
ACCURACY_ON_CORRECT: Final = percentage("accuracy_on_correct", "accuracy where clean is right")
ACCURACY_DIFFERENCE: Final = percentage("accuracy_difference", "accuracy, difference")
CONSISTENCY_DIFFERENCE: Final = percentage("consistency_difference", "consistency, difference")
MCNEMAR: Final = Metric(name="mcnemar_p", unit="1")
MCNEMAR_HOLM: Final = Metric(name="mcnemar_p_holm", unit="1")
NLL: Final = Metric(
    name="nll", unit="1", title="negative log-likelihood", shown_unit="nats", better="lower", tracking=OF_QUALITY
)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """What a terminal table, a figure or a report section is made of.

    Attributes:
        rows: of one analysis, with the store's facts in `attrs`.
        whole: all rows of the store or report, or a function that reads them.
        folder: the store's, where artifacts lie; an absolute `artifact` needs none.
        definition: the one to show where the rows have several; None: the analysis's first choice.
    """

    rows: pd.DataFrame
    whole: pd.DataFrame | Callable[[], pd.DataFrame] | None = None
    folder: Path = Path()
    definition: str | None = None

    @functools.cached_property
    def everything(self) -> pd.DataFrame:
        """All rows, of other analyses too: accuracy for a figure that plots a quantity against it, say."""
        if self.whole is None:
            return self.rows
        return self.whole() if callable(self.whole) else self.whole


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnalysisSpec:
    """The entry of an analysis.

    Attributes:
        name: of the command, the experiment step, the Python function, and by default of the column `analysis`.
        title: the heading in reports and lists: a noun phrase.
        summary: help text of the command and of the Python function; the first line stands alone in lists.
        order: place in reports and lists.
        options: the dataclass of its options, which makes the analysis; None where a command of its own does.
        metrics: that its rows hold. Metrics of several analyses are the same object in each entry.
        table_names: values of the column `analysis` that it writes; default: its name.
        terminal, figures, section: functions of a `View`: a Rich renderable, {name: figure}, a report section.
        step_names: names in experiment files that mean this analysis with some options set: {'rotation': {...}}.
        follow_levels: whether a history follows each level as a series of its own.
        example: a command line for its help, without 'stmbench'.
        of_detectors: the analysis that takes its place where the models are detectors; it has the same options.
    """

    name: str
    title: str
    summary: str
    order: int = 100
    options: type[Options] | None = None
    metrics: tuple[Metric, ...] = ()
    table_names: tuple[str, ...] = ()
    terminal: Reference | Callable[[View], Any] | None = None
    figures: Reference | Callable[[View], Mapping[str, Any]] | None = None
    section: Reference | Callable[[View], Any] | None = None
    step_names: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    follow_levels: bool = False
    example: str = ""
    of_detectors: str = ""

    @property
    def writes(self) -> tuple[str, ...]:
        """Values of the column `analysis` in its rows."""
        return self.table_names or (self.name,)

    def view(self, what: Literal["terminal", "figures", "section"]) -> Callable[[View], Any] | None:
        """The function that draws, imported if need be; None where the analysis has none."""
        draw = getattr(self, what)
        if isinstance(draw, str):
            module, _, attribute = draw.partition(":")
            draw = getattr(importlib.import_module(module), attribute)
        return draw  # type: ignore[no-any-return]


ENTRY_POINTS: Final = "stmbench.analyses"
_METRICS: dict[str, Metric] = {}


def _load() -> None:
    package = importlib.import_module("stmbench.analyses")
    for module in pkgutil.iter_modules(package.__path__):
        if module.ispkg:
            importlib.import_module(f"stmbench.analyses.{module.name}")


def _forget(spec: AnalysisSpec) -> None:
    """Remove the metrics that only this analysis has."""
    kept = {metric.name for other in specs() for metric in other.metrics}
    for metric in spec.metrics:
        if metric.name not in kept:
            _METRICS.pop(metric.name, None)


ANALYSES: Registry[AnalysisSpec] = Registry("analysis", _load, forget=_forget)


def register_analysis(spec: AnalysisSpec) -> AnalysisSpec:
    """Add an analysis and its metrics.

    Raises:
        DuplicateNameError: its name is taken, or one of its metrics is another analysis's with other facts.
    """
    for metric in spec.metrics:
        if _METRICS.get(metric.name, metric) != metric:
            raise DuplicateNameError(
                f"the metric {metric.name!r} of the analysis {spec.name!r} is registered already with other facts; "
                "give yours another name"
            )
    ANALYSES.register(spec.name, spec)
    _METRICS.update({metric.name: metric for metric in spec.metrics})
    return spec


def unregister_analysis(name: str) -> None:
    """Remove an analysis, and the metrics that it alone has."""
    ANALYSES.unregister(name)


def specs() -> list[AnalysisSpec]:
    """All entries, in the order of reports."""
    return sorted((ANALYSES.get(name) for name in ANALYSES), key=lambda spec: spec.order)


def metrics() -> Mapping[str, Metric]:
    """Every registered metric by its name, in the order of reports."""
    ordered = {metric.name: metric for spec in specs() for metric in spec.metrics}
    return ordered


def metric(name: str) -> Metric | None:
    """The facts of a metric; None for one that no analysis registered."""
    len(ANALYSES)  # loads what registers metrics
    return _METRICS.get(name)


def spec_of(table_name: str) -> AnalysisSpec | None:
    """The entry whose rows have this value in the column `analysis`."""
    return next((spec for spec in specs() if table_name in spec.writes), None)


def step_choices() -> Iterator[tuple[str, AnalysisSpec, Mapping[str, Any]]]:
    """(name in an experiment file, entry, options that the name sets) of every analysis that a file can name."""
    for spec in specs():
        if spec.options is None:
            continue
        if spec.step_names:
            for name, given in spec.step_names.items():
                yield name, spec, given
        else:
            yield spec.name, spec, {}
