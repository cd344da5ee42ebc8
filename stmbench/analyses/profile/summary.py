"""What the samples of one setting say, as (metric, value, columns): the summary rows without their common columns."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from stmbench.analyses.profile.samples import LATENCIES, Key, Samples
from stmbench.measure import bootstrap, statistics
from stmbench.measure.statistics import Interval
from stmbench.tables.labels import FEWEST_ROUNDS, few_rounds

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
        found = [
            Summary(metric="throughput", interval=samples.rate(key, seed=seed), key=key),
            *_latency(samples, key, seed),
            *_roofline(samples, key, seed, macs, traffic),
        ]
        count = len(samples.kept(key))
        if count < FEWEST_ROUNDS:
            yield from (_without_interval(item, count) for item in found)
            continue
        yield dataclasses.replace(found[0], columns=too_wide if key in touched else {})
        yield from found[1:]
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
            found = bootstrap.quantile_interval(values, quantile, seed=seed)
            found = dataclasses.replace(found, count=values.size)
            yield Summary(metric=metric, interval=found, key=key, columns={"condition": name, "batch_size": 1})


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
        if len(rounds) < FEWEST_ROUNDS:
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
        found = bootstrap.median_interval([values[number] for number in rounds], seed=seed)
        yield Summary(metric=metric, interval=found)
    dropped = dataclasses.replace(exact(float(len(samples.dropped()))), count=samples.rounds)
    yield Summary(metric="dropped_rounds", interval=dropped)


def exact(value: float) -> Interval:
    """A value without an interval."""
    return Interval(estimate=value, low=float("nan"), high=float("nan"), count=1)
