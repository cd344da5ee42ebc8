"""What models cost and how fast they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import pandas as pd

from stmbench.analyses.profile.figures import drawn_or_not
from stmbench.analyses.profile.terminal import OverviewRow as Overview
from stmbench.analyses.profile.terminal import lines
from stmbench.analyses.registry import View
from stmbench.figures.plot_data import Point, labels
from stmbench.reporting.caveats import caveats
from stmbench.reporting.content import Caveat, Cell, Column, Definition, Formula, Plot, Row, Section, Table
from stmbench.reporting.cross_analysis import published_table
from stmbench.reporting.metrics_table import metrics_table
from stmbench.reporting.model_table import by_model, cell, conditions, measured
from stmbench.tables.labels import FEWEST_ROUNDS, FEWEST_TO_RANK
from stmbench.tables.rows import display, number


class Caption(NamedTuple):
    """A figure's title for those who hear it, what it shows, and how that was measured."""

    title: str
    shows: str
    measured: str


CAPTIONS: Final = {
    "throughput": Caption(
        "Throughput",
        "Images per second of each model, fastest first; whiskers are 95 % bootstrap intervals.",
        "All models are timed in turn, in a new random order each round, alongside a fixed probe workload; rounds in "
        "which the probe is an outlier are dropped. A hatched bar has an interval, or a ratio with one, that "
        "is wider than was asked for (--target-width).",
    ),
    "ranks": Caption(
        "Probability of each rank",
        "How sure the order is: the share of bootstrap resamples in which a model takes each place in throughput. The "
        "area of a dot is the probability, the number is in per cent, and N is the number of rounds.",
        "Rounds are resampled whole, so what disturbs one round disturbs all models of the resample alike.",
    ),
    "latency": Caption(
        "Latency",
        "Time of one forward pass of a single image: median (filled), 90th (pale) and 99th percentile (hollow), with "
        "95 % intervals.",
        "Single passes at batch 1, taken in the same rounds as the throughput.",
    ),
    "efficiency": Caption(
        "Efficiency",
        "Throughput against MACs per image, both on log axes. Along a grey line the machine does equally many MACs per "
        "second; a model higher up turns its MACs into results faster.",
        "MACs are counted, not timed; throughput carries its 95 % interval.",
    ),
    "roofline": Caption(
        "Roofline",
        "The MACs per second that each model achieves against its arithmetic intensity, under what the machine was "
        "measured to allow: its peak rate (flat) and its memory bandwidth (sloping).",
        "Peak and bandwidth are those of the probe in the same run, so they drift with the machine as the models do. "
        "Intensity is MACs over the bytes of all inputs, weights and outputs of the counted operations.",
    ),
    "scaling": Caption(
        "Throughput by input size",
        "Images per second against the input's side, both on log axes; each model is labelled with the exponent "
        "b of images/s ~ (side²)^−b: 1 if time is linear in the pixels, 2 if every token attends to all others.",
        "A least-squares line through the logarithms of all sizes that were timed.",
    ),
    "stability": Caption(
        "Does the order hold?",
        "Kendall's tau between the order of models in throughput in two settings: 1 is the same order, −1 the reverse. "
        "'Sure' counts the pairs of models whose 95 % intervals are apart in both settings, the other way round.",
        "Over the models that both settings have.",
    ),
    "parts": Caption(
        "Cost by part",
        "Where MACs, time and parameters are: in the mixers or, of a detector, its backbone, or in what is around.",
        "MACs and parameters are counted by part; time is stamped wherever execution crosses from one part into "
        "another. Where a compiled kernel runs an MLP with its norm and its residual, all of it is the MLP's; what "
        "belongs to no part (a detector's choice of boxes, say) is 'other'. MACs and time are of one image; numbers "
        "beside bars are totals, small ones that share with its 95 % interval.",
    ),
}


DEFINITION: Final = Definition(
    text="Every model runs once in each round, in a new random order, alongside a fixed probe workload. Rounds in "
    "which the probe is an outlier are dropped, whatever the models did. A ratio is taken within rounds, and its "
    "95 % interval comes from resampling blocks of these. MACs are multiply-adds of convolutions, linear layers, "
    "matrix products (attention included, fused or not) and bilinear sampling for one image; norms, activations and "
    "pooling are not in them.",
    formulas=(
        Formula(quantity="throughput ratio of a to b", equals="exp( median over rounds r of ln( t_b(r) / t_a(r) ) )"),
        Formula(quantity="probability of rank k", equals="share of bootstrap resamples in which the model is k-th"),
        Formula(quantity="MACs of a bilinear sample", equals="5 per channel (4 to interpolate, 1 for its weight)"),
        Formula(quantity="achieved rate", equals="MACs × images / s;  of peak: achieved rate / the probe's rate"),
    ),
    source="Interleaved measurement and paired ratios are ours; roofline: Williams et al. 2009; bootstrap: Efron 1979",
    page="docs/profile.md, docs/counting.md",
)

# heading, unit, the overview's field, the metric whose display it takes
COLUMNS: Final = (
    ("Parameters", "{}", "params", "params"),
    ("MACs", "{}", "macs", "macs"),
    ("Activations", "{}", "activations", "activations"),
    ("Throughput", "images/s", "throughput", "throughput"),
    ("Latency", "p50, {}", "p50", "latency"),
    ("Latency", "p99, {}", "p99", "latency"),
    ("Latency, cold caches", "p50, {}", "cold", "latency_cold"),
    ("Latency, CUDA graph", "p50, {}", "graph", "latency_graph"),
    ("Latency, CUDA graph, cold", "p50, {}", "graph_cold", "latency_graph_cold"),
    ("Peak memory", "{}", "peak_memory", "peak_memory"),
    ("Energy", "J/image", "energy", "energy"),
    ("Achieved", "{}", "achieved", "achieved_macs_per_second"),
    ("Of peak", "%", "peak_share", "peak_share"),
)
PARTS: Final = ("part_macs", "part_time", "part_params")
DETAILS: Final = ("macs_published_convention", "batch_size", "elements_moved", "elementwise", "arithmetic_intensity")
PROBE: Final = ("probe_peak", "probe_bandwidth", "dropped_rounds")
MOST_RANKS: Final = 8  # as columns; of more models the figure shows them
WIDE: Final = "* wider than was asked for (--target-width)."
NOTE: Final = f"Small numbers are 95 % intervals; of ranks, the probabilities of all that have 95 % together. {WIDE}"


def profile_section(frame: pd.DataFrame, everything: pd.DataFrame) -> Section:
    """The section of the analysis 'profile'."""
    overview = lines(frame)
    tables = (_table(overview), published_table(frame), *_details(frame))
    figures, left_out = drawn_or_not(frame)
    return Section(
        name="profile",
        heading="Cost and speed",
        lead=lead(overview),
        headline=headline(overview, labels(frame)),
        conditions=conditions(frame),
        plots=tuple(Plot(name=name, figure=figure, **CAPTIONS[name]._asdict()) for name, figure in figures.items()),
        tables=tuple(table for table in tables if table is not None),
        definition=DEFINITION,
        caveats=(*caveats(frame, quality=False), *(Caveat(kind="note", text=text) for text in left_out)),
    )


def headline(overview: list[Overview], names: Mapping[str, str]) -> Table | None:
    """Throughput as multiples of a setting's first model, the largest of a setting first, with interval and verdict."""
    rows = [(line, line.ratio) for line in overview if line.ratio is not None]
    if not rows:
        return None
    settings = list(dict.fromkeys(line.subject.comparable for line, _ in rows))
    rows.sort(key=lambda row: (settings.index(row[0].subject.comparable), -row[1].value))
    firsts = list(dict.fromkeys(names[str(line.baseline)] for line, _ in rows))
    to = "to {}" if len(firsts) > 1 else ""
    return Table(
        name="headline",
        title=f"Throughput relative to {firsts[0] if len(firsts) == 1 else 'the first model of each setting'}",
        columns=(
            Column(heading="Model", is_number=False),
            Column(heading="Ratio"),
            Column(heading="95 % interval"),
            Column(heading="Verdict", is_number=False),
        ),
        lines=tuple(
            Row(
                model=line.subject.model,
                cells=(
                    Cell(text=line.subject.label, detail=to.format(names[str(line.baseline)])),
                    Cell(text=number(ratio.value, "throughput_ratio"), value=ratio.value),
                    Cell(text=_interval(ratio), value=None if ratio.errors is None else ratio.low),
                    Cell(text=_verdict(ratio)),
                ),
            )
            for line, ratio in rows
        ),
        note="" if all(ratio.resolved for _, ratio in rows) else WIDE,
    )


def lead(overview: list[Overview]) -> str:
    """The fastest, by how much, and how sure that is."""
    every = [(line, line.throughput) for line in overview if line.throughput is not None]
    # of several sizes or precisions the first: a ratio across them says nothing of the models
    groups: dict[tuple[Any, ...], list[tuple[Overview, Point]]] = {}
    for pair in every:
        groups.setdefault(pair[1].comparable, []).append(pair)
    timed = sorted(next(iter(groups.values()), []), key=lambda pair: -pair[1].value)
    if not timed:
        count = len(overview)
        return f"{count} {'model was' if count == 1 else 'models were'} counted; no timings were taken."
    (best, fastest), (last, slowest) = timed[0], timed[-1]
    several = len(timed) > 1
    at = f"At {best.subject.setting}, " if len(groups) > 1 and best.subject.setting else ""
    name, lowest = (line.subject.name if at else line.subject.label for line in (best, last))
    few = [point for _, point in timed if point.rounds is not None]
    if few:
        counts = sorted({point.count for point in few if point.count is not None})
        rounds = few[0].rounds if len(counts) == 1 else f"{counts[0]} to {counts[-1]} rounds"
        who = f"{len(timed)} models were" if several else f"{name} was"
        which = "which is faster" if several else "how fast it is"
        return f"{at}{who} timed in {rounds}, too few to say {which}: {FEWEST_ROUNDS} are the fewest."
    text = f"{at}{name} has the highest throughput of {len(timed)}" if several else f"{at}{name} was timed"
    text += f": {number(fastest.value, 'throughput')} images/s"
    if fastest.errors is not None:
        text += f" (95 % interval {number(fastest.low, 'throughput')} to {number(fastest.high, 'throughput')})"
    if several:
        text += f", {fastest.value / slowest.value:.2f} times that of {lowest}, the lowest"
    if several and best.ranks is not None and 1 in best.ranks.probabilities:
        sure = number(best.ranks.probabilities[1], "rank_probability")
        text += f". It is the fastest with a probability of {sure} %"
    return f"{text}.{_elsewhere(list(groups.values())[1:], best.subject.model) if several and at else ''}"


def _elsewhere(groups: Sequence[Sequence[tuple[Overview, Point]]], best: str) -> str:
    """In how many of the other settings another model is the fastest; and how many have models of their own."""
    shared = [group for group in groups if any(line.subject.model == best for line, _ in group)]
    others = sum(max(group, key=lambda pair: pair[1].value)[0].subject.model != best for group in shared)
    count, apart = len(shared), len(groups) - len(shared)
    where = "the other setting" if count == 1 else f"the other {count} settings"
    text = ""
    if shared and not others:
        text = f" It is the fastest in {where} too."
    elif shared:
        text = f" In {f'{others} of {where}' if others < count else where} another model is the fastest."
    if apart:
        text += f" {apart} {'setting has' if apart == 1 else 'settings have'} other models: the table has them."
    return text


def _table(overview: list[Overview]) -> Table | None:
    shown = [column for column in COLUMNS if any(getattr(line, column[2]) is not None for line in overview)]
    if not overview or not shown:
        return None
    units = {
        field: display(metric, values=[point.value for line in overview if (point := getattr(line, field)) is not None])
        for _, _, field, metric in shown
    }
    said = [unit.format(units[field].unit.removesuffix("MACs")) for _, unit, field, _ in shown]
    heads = [Column(heading="Model", is_number=False)]
    heads += [Column(heading=head[0], unit=unit) for head, unit in zip(shown, said, strict=True)]
    if has_ranks := any(line.ranks is not None for line in overview):
        heads.append(Column(heading="Rank", unit="probability"))
    rows = []
    for line in overview:
        cells = [
            Cell(text=line.subject.label),
            *(cell(getattr(line, field), metric, units[field]) for _, _, field, metric in shown),
        ]
        rows.append(Row(cells=(*cells, *([_rank(line)] if has_ranks else [])), model=line.subject.model))
    return Table(name="profile", title="Costs and timings", columns=tuple(heads), lines=tuple(rows), note=NOTE)


def _details(frame: pd.DataFrame) -> list[Table | None]:
    """What is behind the costs and timings, and what the machine allowed in the same run."""
    columns = [measured(frame, metric) for metric in DETAILS]
    for metric, heading in (("latency", "Latency"), ("latency_cold", "Latency, cold caches")):
        for percentile in ("p90", "p99"):
            rows = frame[(frame["metric"] == metric) & (frame["condition"] == percentile)]
            rows.attrs = frame.attrs
            columns.append(measured(rows, metric, heading, f"{percentile}, {{}}"))
    enough = frame["num_samples"].isna() | (frame["num_samples"] >= FEWEST_TO_RANK)
    ranks = frame.loc[(frame["metric"] == "rank_probability") & enough, "level"].nunique()
    return [
        metrics_table("profile-ranks", "Probability of each rank in throughput", frame, ["rank_probability"],
                      across=["level"], heading=lambda _, rank: Column(heading=f"Rank {rank:g}", unit="%"))
        if 1 < ranks <= MOST_RANKS else None,
        metrics_table("profile-parts", "Cost by part", frame, PARTS, note="MACs and time are of one image."),
        by_model("profile-details", "Behind the costs and timings", columns, note="Counts are of one image."),
        metrics_table("profile-kernels", "Calls of compiled kernels in a timed pass", frame, ["kernel_calls"],
                      across=["condition"], heading=lambda _, kernel: Column(heading=kernel.replace("_", " "))),
        metrics_table("profile-probe", "Probe", frame, PROBE,
                      note="Rounds are dropped in which the probe's time is an outlier."),
    ]  # fmt: skip


def _rank(line: Overview) -> Cell:
    ranks = line.ranks
    return Cell(text="–") if ranks is None else Cell(text=ranks.words, detail=ranks.detail, value=ranks.mean)


def _interval(ratio: Point) -> str:
    if ratio.errors is None:
        return "–"
    mark = "" if ratio.resolved else "*"
    return f"{number(ratio.low, 'throughput_ratio')} to {number(ratio.high, 'throughput_ratio')}{mark}"


def _verdict(ratio: Point) -> str:
    """What the interval says. Where it holds 1, its width decides between "not shown" and "inconclusive"."""
    if ratio.errors is None:
        return "no interval"
    if ratio.low > 1 or ratio.high < 1:
        return "faster" if ratio.low > 1 else "slower"
    return "no difference shown" if ratio.resolved else "inconclusive"


def section(view: View) -> Section:
    """The section of a report."""
    return profile_section(view.rows, view.everything)
