"""The overview for a terminal, within 100 columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Final

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from stmbench.analyses.registry import View
from stmbench.errors import TableError
from stmbench.figures.groups import alike, match
from stmbench.figures.plot_data import Point, points
from stmbench.reporting.caveats import troubles
from stmbench.tables.labels import FEWEST_TO_RANK
from stmbench.tables.rows import Display, display, number

TAIL: Final = 0.025  # left out at either end: the ranks from `low` to `high` hold 95 % or more
SHOWN: Final = 3  # probabilities


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ranks:
    """The probabilities of one model's ranks."""

    probabilities: dict[int, float]  # in the order of ranks

    @classmethod
    def of(cls, subject: Point, candidates: Sequence[Point]) -> Ranks | None:
        """Those of the subject's setting; None where there are none, or of too few rounds."""
        candidates = [point for point in candidates if point.count is None or point.count >= FEWEST_TO_RANK]
        levels = sorted({point.level for point in candidates if point.level >= 1})
        fitting = [point for point in candidates if alike(subject, point)]
        latencies = {int(level): match(subject, [p for p in fitting if p.level == level]) for level in levels}
        probabilities = {rank: point.value for rank, point in latencies.items() if point is not None}
        return cls(probabilities=probabilities) if probabilities else None

    @property
    def ends(self) -> tuple[int, int]:
        """The first and the last of the ranks that are left when 2.5 % at most are cut off at either end."""
        order = list(self.probabilities)
        return self._first(order), self._first(order[::-1])

    @property
    def words(self) -> str:
        """'3', or '3–4' where no single rank is sure."""
        low, high = self.ends
        return f"{low}" if low == high else f"{low}–{high}"

    @property
    def detail(self) -> str:
        """The probability of the rank, or of each of them: '68, 32 %'; of many the most probable: '40 % to be 3'."""
        low, high = self.ends
        if high - low < SHOWN:
            inside = [value for rank, value in self.probabilities.items() if low <= rank <= high]
            return f"{', '.join(number(value, 'rank_probability') for value in inside)} %"
        likeliest = max(self.probabilities, key=lambda rank: self.probabilities[rank])
        return f"{number(self.probabilities[likeliest], 'rank_probability')} % to be {likeliest}"

    @property
    def mean(self) -> float:
        """The expected rank: what a table is sorted by."""
        return sum(rank * value for rank, value in self.probabilities.items())

    def _first(self, order: list[int]) -> int:
        total = 0.0
        for rank in order:
            total += self.probabilities[rank]
            if total > TAIL:
                return rank
        return order[-1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class OverviewRow:
    """What is known of one subject; a metric it has no row for is None. Points hold base units."""

    subject: Point  # of which metric says nothing: who it is, and its conditions
    params: Point | None
    macs: Point | None
    activations: Point | None
    throughput: Point | None
    baseline: str | None  # the first model of its setting, that ratios are given to
    ratio: Point | None
    p50: Point | None
    p99: Point | None
    cold: Point | None  # latencies at p50
    graph: Point | None
    graph_cold: Point | None
    peak_memory: Point | None
    energy: Point | None
    achieved: Point | None
    peak_share: Point | None
    ranks: Ranks | None


def lines(frame: pd.DataFrame) -> list[OverviewRow]:
    """The overview, in the table's order of models."""
    points = {metric: _points(frame, metric) for metric in _METRICS}
    firsts = baselines(frame)
    p50s, p99s = ([point for point in points["latency"] if point.condition == name] for name in ("p50", "p99"))
    others = {name: [point for point in points[name] if point.condition == "p50"] for name in _LATENCIES}
    result = []
    for point in _subjects(points["throughput"], points["params"], points["macs"]):
        ratios = [ratio for ratio in points["throughput_ratio"] if alike(point, ratio)]
        first = next((model for model in firsts if any(ratio.baseline == model for ratio in ratios)), None)
        result.append(
            OverviewRow(
                subject=point,
                params=match(point, points["params"]),
                macs=match(point, points["macs"]),
                activations=match(point, points["activations"]),
                throughput=match(point, points["throughput"]),
                baseline=first,
                ratio=match(point, [ratio for ratio in ratios if ratio.baseline == first]),
                p50=match(point, p50s),
                p99=match(point, p99s),
                cold=match(point, others["latency_cold"]),
                graph=match(point, others["latency_graph"]),
                graph_cold=match(point, others["latency_graph_cold"]),
                peak_memory=match(point, points["peak_memory"]),
                energy=match(point, points["energy"]),
                achieved=match(point, points["achieved_macs_per_second"]),
                peak_share=match(point, points["peak_share"]),
                ranks=Ranks.of(point, points["rank_probability"]),
            )
        )
    return result


def baselines(frame: pd.DataFrame) -> list[str]:
    """The models that others are compared with, in the table's order: a setting's ratios are to the first it has."""
    against = set(frame.loc[frame["metric"] == "throughput_ratio", "baseline"].dropna())
    return [str(model) for model in frame["model"].dropna().unique() if model in against]


_LATENCIES = ("latency_cold", "latency_graph", "latency_graph_cold")
_METRICS = (
    *_LATENCIES,
    *("params", "macs", "activations", "throughput", "throughput_ratio", "latency", "peak_memory"),
    *("achieved_macs_per_second", "peak_share", "rank_probability", "energy"),
)


def _points(frame: pd.DataFrame, metric: str) -> list[Point]:
    try:
        return points(frame, metric)
    except TableError:
        return []  # a profile without timing has no throughput: the overview shows a dash


def _subjects(timed: list[Point], *counted: list[Point]) -> Iterator[Point]:
    """Timed subjects, and those of which only the costs are known: at a size of their own, or without any timing."""
    yield from timed
    known = list(timed)
    for candidates in counted:
        for point in candidates:
            if match(point, known) is None:
                known.append(point)
                yield point


NARROWEST, WIDEST = 12, 28  # columns of a model's name


def profile_table(frame: pd.DataFrame) -> Table:
    """One row per model and conditions. Raises TableError where the table has no profile.

    A throughput or ratio whose interval is wider than asked for carries an asterisk, which the caption explains;
    failed and skipped units stand in the caption with their reasons.
    """
    chosen = frame[frame["analysis"] == "profile"]
    chosen.attrs = frame.attrs
    if chosen.empty:
        raise TableError("rows of the analysis 'profile'", "none", "run `stmbench profile`")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, caption_justify="left", show_edge=False)
    table.add_column("model", min_width=NARROWEST, max_width=WIDEST, overflow="fold")
    found = lines(chosen)
    params, macs, p50, p99, memory = (
        display(metric, values=[point.value for point in column if point is not None])
        for metric, column in (
            ("params", [line.params for line in found]),
            ("macs", [line.macs for line in found]),
            ("latency", [line.p50 for line in found]),
            ("latency", [line.p99 for line in found]),
            ("peak_memory", [line.peak_memory for line in found]),
        )
    )
    headings = [f"params\n{params.unit}", f"MACs\n{macs.unit.removesuffix('MACs')}", "images/s\n95 % interval"]
    headings += ["ratio to\nfirst", f"p50\n{p50.unit}", f"p99\n{p99.unit}", f"peak\n{memory.unit}", "rank"]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for line in found:
        table.add_row(
            Text(line.subject.label),  # not markup: a name may have brackets
            _value(line.params, "params", params),
            _value(line.macs, "macs", macs),
            _with_interval(line.throughput),
            "1"
            if line.subject.model == line.baseline and line.ratio is None
            else _marked(line.ratio, "throughput_ratio"),
            _value(line.p50, "latency", p50),
            _value(line.p99, "latency", p99),
            _value(line.peak_memory, "peak_memory", memory),
            "–" if line.ranks is None else line.ranks.words,
        )
    table.caption = _caption(chosen, found)
    return table


def _value(point: Point | None, metric: str, shown: Display | None = None) -> str:
    return number(None if point is None else point.value, metric, shown)


def _marked(point: Point | None, metric: str) -> str:
    text = _value(point, metric)
    return text if point is None or point.errors is None or point.resolved else f"{text}*"


def _with_interval(point: Point | None) -> Text:
    text = Text(_marked(point, "throughput"))
    if point is not None and point.errors is not None:
        text.append(f"\n{number(point.low, 'throughput')}–{number(point.high, 'throughput')}", style="dim")
    elif point is not None and point.rounds is not None:
        text.append(f"\n{point.rounds}", style="dim")
    return text


def _caption(frame: pd.DataFrame, found: list[OverviewRow]) -> Text | None:
    notes = []
    shown = [point for line in found for point in (line.throughput, line.ratio) if point is not None]
    if any(point.errors is not None and not point.resolved for point in shown):
        notes.append("* the 95 % interval is wider than was asked for (--target-width)")
    for trouble in troubles(frame):
        times = f" ({trouble.times} times)" if trouble.times > 1 else ""
        notes.append(f"{trouble.model}: {trouble.status}{times}, {trouble.reason}")
    return Text("\n".join(notes), style="dim") if notes else None


def terminal(view: View) -> Table:
    """What the command prints. Raises TableError where the rows hold nothing to show."""
    return profile_table(view.rows)
