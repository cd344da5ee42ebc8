"""The raw samples of one setting, read back from its blocks of rounds, and what to make of them."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from stmbench.measure import bootstrap, statistics
from stmbench.measure.statistics import Floats, Interval, kept_rounds
from stmbench.tables.labels import FEWEST_ROUNDS, FEWEST_TO_RANK, UNFIT, few_rounds

UNFIT_SHARE = 0.2  # of the processor, taken by others on average while rounds were sampled
LATENCY_REPEATS = 4  # batch-1 runs of a model in one round, of each kind
# one image: eagerly with warm and with cold caches; on CUDA also as the replay of a graph
LATENCIES = ("latency", "latency_cold", "latency_graph", "latency_graph_cold")

Key = tuple[str, int | None]  # model, stage


def name_of(key: Key) -> str:
    """A subject's name for the reader."""
    model, stage = key
    return model if stage is None else f"{model}, stage {stage}"


@dataclasses.dataclass(kw_only=True)
class Samples:
    """Values by round: throughput in images/s, latency in s (repeats in a round), the probe in MAC/s and bytes/s."""

    subjects: list[Key] = dataclasses.field(default_factory=list)  # in the order of the tables
    throughput: dict[Key, dict[int, float]] = dataclasses.field(default_factory=dict)
    latency: dict[str, dict[Key, dict[int, list[float]]]] = dataclasses.field(default_factory=dict)  # by metric
    peak: dict[int, float] = dataclasses.field(default_factory=dict)
    bandwidth: dict[int, float] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0  # of sampling, all blocks together
    taken: float = 0.0  # seconds times the share of the processor that others took meanwhile

    def add(self, rows: pd.DataFrame, seconds: float, *, taken: float = 0.0) -> None:
        """Take in the rows of one block, which took `seconds`, and others `taken` of the processor meanwhile."""
        self.seconds += seconds
        self.taken += seconds * min(taken, 1.0)
        good = rows[(rows["kind"] == "raw") & (rows["status"] == "ok")]
        columns = (good[name].tolist() for name in ("metric", "model", "stage", "sample", "value"))
        for metric, model, stage, number, value in zip(*columns, strict=True):
            key = (model, None if pd.isna(stage) else int(stage))
            match metric:
                case "throughput":
                    self.throughput.setdefault(key, {})[number] = value
                case _ if metric in LATENCIES:
                    by_round = self.latency.setdefault(metric, {}).setdefault(key, {})
                    by_round.setdefault(number // LATENCY_REPEATS, []).append(value)
                case "probe_peak":
                    self.peak[number] = value
                case "probe_bandwidth":
                    self.bandwidth[number] = value

    @property
    def sampled(self) -> list[Key]:
        """The subjects that there are samples of, in the order of the tables."""
        return [key for key in self.subjects if key in self.throughput]

    @property
    def rounds(self) -> int:
        """How many rounds there are; the next one's number."""
        return len(self.peak)

    def dropped(self) -> set[int]:
        """Rounds in which the probe was an outlier because the machine was disturbed. None while there are too few."""
        numbers = sorted(self.peak)
        if len(numbers) < FEWEST_ROUNDS:
            return set()
        probes = ([values[number] for number in numbers] for values in (self.peak, self.bandwidth))
        keep = kept_rounds(*probes, min_rounds=FEWEST_ROUNDS)
        return {number for number, is_kept in zip(numbers, keep, strict=True) if not is_kept}

    def kept(self, *keys: Key) -> list[int]:
        """Rounds that count and that hold every one of these subjects."""
        dropped = self.dropped()
        return [n for n in sorted(self.peak) if n not in dropped and all(n in self.throughput[key] for key in keys)]

    def rates(self, key: Key, rounds: list[int]) -> Floats:
        """(rounds,) images/s of one subject."""
        return np.asarray([self.throughput[key][number] for number in rounds])

    def latencies(self, key: Key, metric: str = "latency") -> Floats:
        """(rounds, repeats) seconds of one subject, of the rounds that count; none where it is not sampled."""
        values = self.latency.get(metric, {}).get(key, {})
        rows = [values[number] for number in self.kept(key) if len(values.get(number, [])) == LATENCY_REPEATS]
        return np.asarray(rows, dtype=np.float64).reshape(len(rows), LATENCY_REPEATS)

    def pairs(self) -> list[tuple[Key, Key]]:
        """Every two subjects of one stage, once."""
        both = itertools.combinations(self.sampled, 2)
        return [(a, b) for a, b in both if a[1] == b[1]]

    def ratio(self, a: Key, b: Key, *, seed: int) -> Interval:
        """Throughput of a over that of b, paired by round."""
        rounds = self.kept(a, b)
        return bootstrap.paired_ratio(self.rates(a, rounds), self.rates(b, rounds), seed=seed)

    def rate(self, key: Key, *, seed: int) -> Interval:
        """Throughput of one subject in images/s."""
        return bootstrap.median_interval(self.rates(key, self.kept(key)), seed=seed)

    def intervals(self, *, seed: int) -> dict[tuple[Key, Key], Interval]:
        """Every pair's ratio; with one subject in a stage its own throughput, as the pair of it with itself."""
        ratios = {(a, b): self.ratio(a, b, seed=seed) for a, b in self.pairs()}
        paired = {key for pair in ratios for key in pair}
        return {**ratios, **{(key, key): self.rate(key, seed=seed) for key in self.sampled if key not in paired}}

    @property
    def unfit(self) -> str | None:
        """Why nothing of this may be published; None where it may."""
        kept = self.rounds - len(self.dropped())
        if kept < FEWEST_ROUNDS:
            return f"{UNFIT}: {few_rounds(kept)}"
        share = self.taken / self.seconds if self.seconds else 0.0
        if share > UNFIT_SHARE:
            return (
                f"{UNFIT}: others took about {5 * round(20 * share)} % of the processor while rounds were sampled; "
                f"measure again on a quieter machine"
            )
        return None

    @property
    def notes(self) -> dict[str, Any]:
        """What is to be kept beside the summary."""
        known: dict[str, Any] = {"sampling_seconds": self.seconds, "rounds": self.rounds}
        if (reason := self.unfit) is not None:
            known |= {"warnings": [reason], "disturbances": [{"kind": "unfit", "amount": 1.0, "text": reason}]}
        return known

    @property
    def is_enough(self) -> bool:
        """Whether there are rounds enough to believe an interval: a few can lie close together by chance."""
        return self.rounds - len(self.dropped()) >= FEWEST_ROUNDS

    def is_resolved(self, target_width: float, *, seed: int) -> bool:
        """Whether sampling may stop: rounds enough, and every interval narrower than the target."""
        return self.is_enough and statistics.all_resolved(self.intervals(seed=seed).values(), target_width)


PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
    """One summary row to be: the subject (None for the machine), the metric, its interval, other columns."""

    metric: str
    interval: Interval
    key: Key | None = None
    columns: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def summaries(
    samples: Samples,
    *,
    seed: int,
    target_width: float,
    macs: Mapping[Key, float],
    traffic: Mapping[Key, float],
) -> Iterator[Summary]:
    """Everything that is derived from the samples.

    Args:
        target_width: of the ratios' intervals; a wider one makes its row, and its subjects' rows, 'wide'. The
            verdict is another matter: an interval may be wide and still exclude 1.
        macs: multiply-adds per image, for the subjects whose achieved rate is wanted.
        traffic: bytes moved per image.
    """
    reason = f"the interval is wider than {target_width:.3g} of the ratio after {samples.seconds:.0f} s of sampling"
    too_wide = {"status": "imprecise", "reason": reason}
    intervals = samples.intervals(seed=seed)
    wide = {
        pair
        for pair, interval in intervals.items()
        if not (samples.is_enough and statistics.all_resolved([interval], target_width))
    }
    touched = {key for pair in wide for key in pair}
    for key in samples.sampled:
        rows = [
            Summary(metric="throughput", interval=samples.rate(key, seed=seed), key=key),
            *_latency(samples, key, seed),
            *_roofline(samples, key, seed, macs, traffic),
        ]
        count = len(samples.kept(key))
        if count < FEWEST_ROUNDS:
            yield from (_without_interval(item, count) for item in rows)
            continue
        yield dataclasses.replace(rows[0], columns=too_wide if key in touched else {})
        yield from rows[1:]
    for a, b in samples.pairs():
        if len(samples.kept(a, b)) < FEWEST_ROUNDS:
            continue
        status = too_wide if (a, b) in wide else {}
        for one, other in ((a, b), (b, a)):
            ratio = samples.ratio(one, other, seed=seed)
            yield Summary(metric="throughput_ratio", interval=ratio, key=one, columns={"baseline": other[0], **status})
    yield from _ranks(samples, seed)
    yield from _probe(samples, seed)


def _without_interval(found: Summary, count: int) -> Summary:
    """What a few rounds give: a value, of which nobody knows how sure it is."""
    if math.isnan(found.interval.low):
        return found  # counted, not timed
    interval = dataclasses.replace(found.interval, low=math.nan, high=math.nan)
    few = {"status": "inconclusive", "reason": few_rounds(count)}
    return dataclasses.replace(found, interval=interval, columns={**found.columns, **few})


def _latency(samples: Samples, key: Key, seed: int) -> Iterator[Summary]:
    for metric in LATENCIES:
        values = samples.latencies(key, metric)
        if values.size == 0:
            continue
        for name, quantile in PERCENTILES.items():
            latency = bootstrap.quantile_interval(values, quantile, seed=seed)
            latency = dataclasses.replace(latency, count=values.size)
            yield Summary(metric=metric, interval=latency, key=key, columns={"condition": name, "batch_size": 1})


def _roofline(
    samples: Samples, key: Key, seed: int, macs: Mapping[Key, float], traffic: Mapping[Key, float]
) -> Iterator[Summary]:
    if key not in macs:
        return
    achieved = samples.rate(key, seed=seed).scaled(macs[key])
    yield Summary(metric="achieved_macs_per_second", interval=achieved, key=key)
    rounds = samples.kept(key)
    peaks = np.asarray([samples.peak[number] for number in rounds])
    share = bootstrap.paired_ratio(samples.rates(key, rounds) * macs[key], peaks, seed=seed)
    yield Summary(metric="peak_share", interval=share, key=key)
    if traffic.get(key):
        yield Summary(metric="arithmetic_intensity", interval=exact(macs[key] / traffic[key]), key=key)


def _ranks(samples: Samples, seed: int) -> Iterator[Summary]:
    for stage in dict.fromkeys(key[1] for key in samples.sampled):
        keys = [key for key in samples.sampled if key[1] == stage]
        rounds = samples.kept(*keys)
        if len(rounds) < FEWEST_TO_RANK:
            continue
        named = {key[0]: samples.rates(key, rounds) for key in keys}
        for model, shares in bootstrap.rank_probabilities(named, seed=seed).items():
            for rank, share in enumerate(shares, start=1):
                interval = dataclasses.replace(exact(float(share)), count=len(rounds))
                columns = {"level": float(rank)}
                yield Summary(metric="rank_probability", interval=interval, key=(model, stage), columns=columns)


def _probe(samples: Samples, seed: int) -> Iterator[Summary]:
    rounds = samples.kept()
    for metric, values in (("probe_peak", samples.peak), ("probe_bandwidth", samples.bandwidth)):
        median = bootstrap.median_interval([values[number] for number in rounds], seed=seed)
        yield Summary(metric=metric, interval=median)
    dropped = dataclasses.replace(exact(float(len(samples.dropped()))), count=samples.rounds)
    yield Summary(metric="dropped_rounds", interval=dropped)


def exact(value: float) -> Interval:
    """A value without an interval."""
    return Interval(estimate=value, low=float("nan"), high=float("nan"), count=1)
