"""Samples and their summary, against samples whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from stmbench.analyses.profile.samples import LATENCY_REPEATS, Key, Samples, summaries
from stmbench.measure.machine_watch import external_load
from stmbench.tables.labels import FEWEST_ROUNDS

A, B, C = (("a", None), ("b", None), ("c", None))


def rows(values: list[tuple[str, str | None, int, float]], stage: int | None = None) -> pd.DataFrame:
    """(metric, model, sample, value) as a block's rows."""
    frame = pd.DataFrame(values, columns=["metric", "model", "sample", "value"])
    return frame.assign(kind="raw", status="ok", stage=pd.array([stage] * len(frame), dtype="Int64"))


def samples(rates: dict[Key, list[float]], *, peak: list[float] | None = None) -> Samples:
    """Samples with these throughputs by round; the latency of a batch of one is their inverse."""
    found = Samples(subjects=list(rates))
    count = len(next(iter(rates.values())))
    for number in range(count):
        block = [
            ("probe_peak", None, number, (peak or [1e9] * count)[number]),
            ("probe_bandwidth", None, number, 1e10),
        ]
        for (model, _), values in rates.items():
            block.append(("throughput", model, number, values[number]))
            for repeat in range(LATENCY_REPEATS):
                block.append(("latency", model, number * LATENCY_REPEATS + repeat, 1 / values[number]))
        found.add(rows(block), seconds=2.0)
    return found


def noisy(level: float, count: int = 20, seed: int = 0, spread: float = 0.001) -> list[float]:
    return list(level * np.random.default_rng(seed).lognormal(0, spread, count))


def test_rows_are_put_where_they_belong() -> None:
    found = samples({A: [1.0, 2.0], B: [3.0, 4.0]})
    assert found.rounds == 2
    assert found.seconds == 4.0
    assert found.rates(B, [0, 1]).tolist() == [3.0, 4.0]
    assert found.latencies(A).tolist() == [[1.0] * LATENCY_REPEATS, [0.5] * LATENCY_REPEATS]
    assert found.pairs() == [(A, B)]


def test_failed_and_summary_rows_are_no_samples() -> None:
    block = rows([("throughput", "a", 0, 1.0), ("throughput", "b", 0, 1.0), ("probe_peak", None, 0, 1.0)])
    block.loc[0, "status"], block.loc[1, "kind"] = "failed", "summary"
    found = Samples(subjects=[A, B])
    found.add(block, seconds=1.0)
    assert found.sampled == []
    assert found.rounds == 1


def test_rounds_with_an_odd_probe_are_dropped() -> None:
    peak = [1e9 * (1 + 0.01 * (number % 5)) for number in range(20)]
    peak[7] = 2e8
    rates = noisy(10.0)
    rates[7] = 1.0
    found = samples({A: rates, B: noisy(5.0, seed=1)}, peak=peak)
    assert found.dropped() == {7}
    assert 7 not in found.kept(A, B)
    assert len(found.latencies(A)) == 19
    two_speeds = [1e9 * (1 + 0.01 * (number % 5)) * (0.5 if number < 8 else 1) for number in range(20)]
    assert samples({A: rates}, peak=two_speeds).dropped() == set(), "a speed that lasts is no outlier"
    assert samples({A: rates[:8]}, peak=peak[:8]).dropped() == set(), "too few rounds to tell"


def test_rounds_that_one_of_a_pair_missed_do_not_count_for_the_pair() -> None:
    found = samples({A: noisy(2.0), B: noisy(1.0, seed=1)})
    del found.throughput[B][3]
    assert 3 in found.kept(A)
    assert 3 not in found.kept(A, B)
    assert found.ratio(A, B, seed=0).count == 19


def test_it_is_resolved_when_all_pairs_are_and_rounds_suffice() -> None:
    narrow = samples({A: noisy(2.0), B: noisy(1.0, seed=1)})
    assert narrow.is_resolved(0.03, seed=0)
    assert not narrow.is_resolved(1e-6, seed=0)
    few = FEWEST_ROUNDS - 1
    assert not samples({A: noisy(2.0, few), B: noisy(1.0, few, 1)}).is_resolved(0.03, seed=0)
    wide = samples({A: noisy(2.0), B: noisy(1.0, seed=1), C: noisy(1.0, seed=2, spread=0.5)})
    assert not wide.is_resolved(0.03, seed=0)
    assert samples({A: noisy(2.0)}).is_resolved(0.03, seed=0), "alone: its own throughput"


def found_in(all_: list, metric: str, key: Key | None = None, **columns: object) -> list:
    return [s for s in all_ if s.metric == metric and s.key == key and columns.items() <= dict(s.columns).items()]


def test_summaries_of_known_samples() -> None:
    data = samples({A: noisy(20.0), B: noisy(10.0, seed=1)})
    all_ = list(summaries(data, seed=0, target_width=0.03, macs={A: 5e6}, traffic={A: 1e6}))
    (rate,) = found_in(all_, "throughput", A)
    assert rate.interval.estimate == pytest.approx(20.0, rel=0.01)
    assert rate.interval.low <= rate.interval.estimate <= rate.interval.high
    (ratio,) = found_in(all_, "throughput_ratio", A, baseline="b")
    (inverse,) = found_in(all_, "throughput_ratio", B, baseline="a")
    assert ratio.interval.estimate == pytest.approx(2.0, rel=0.01)
    assert ratio.interval.estimate * inverse.interval.estimate == pytest.approx(1.0)
    for name in ("p50", "p90", "p99"):
        (latency,) = found_in(all_, "latency", B, condition=name)
        assert latency.interval.estimate == pytest.approx(0.1, rel=0.01)
        assert latency.columns["batch_size"] == 1
        assert latency.interval.count == 20 * LATENCY_REPEATS
    (achieved,) = found_in(all_, "achieved_macs_per_second", A)
    (share,) = found_in(all_, "peak_share", A)
    (intensity,) = found_in(all_, "arithmetic_intensity", A)
    assert achieved.interval.estimate == pytest.approx(1e8, rel=0.01)
    assert share.interval.estimate == pytest.approx(0.1, rel=0.01)
    assert intensity.interval.estimate == 5.0
    assert found_in(all_, "achieved_macs_per_second", B) == [], "its MACs are not known"
    ranks = {s.columns["level"]: s.interval.estimate for s in found_in(all_, "rank_probability", A)}
    assert ranks == {1.0: 1.0, 2.0: 0.0}
    assert found_in(all_, "probe_peak")[0].interval.estimate == 1e9
    assert found_in(all_, "probe_bandwidth")[0].interval.estimate == 1e10
    assert found_in(all_, "dropped_rounds")[0].interval.estimate == 0
    assert all("status" not in s.columns for s in all_)


def test_what_is_not_resolved_says_so() -> None:
    data = samples({A: noisy(2.0), B: noisy(1.0, seed=1), C: noisy(1.0, seed=2, spread=0.3)})
    all_ = list(summaries(data, seed=0, target_width=0.03, macs={}, traffic={}))
    status = {
        (s.key[0], s.columns["baseline"]): s.columns.get("status")
        for s in all_
        if s.metric == "throughput_ratio" and s.key
    }
    wide = dict.fromkeys([("a", "c"), ("c", "a"), ("b", "c"), ("c", "b")], "imprecise")
    assert status == {("a", "b"): None, ("b", "a"): None, **wide}
    (rate,) = found_in(all_, "throughput", C)
    assert rate.columns["status"] == "imprecise"
    assert "wider than 0.03" in rate.columns["reason"]
    assert "after 40 s of sampling" in rate.columns["reason"]


@pytest.mark.parametrize("count", [1, 3, 9])
def test_too_few_rounds_have_no_interval_no_ratio_and_no_rank(count: int) -> None:
    data = samples({A: [2.0] * count, B: [1.0] * count})
    all_ = list(summaries(data, seed=0, target_width=0.03, macs={A: 5.0}, traffic={A: 2.0}))
    timed = {"throughput", "latency", "achieved_macs_per_second", "peak_share"}
    assert {s.metric for s in all_ if s.key} == {*timed, "arithmetic_intensity"}
    for found in (s for s in all_ if s.metric in timed):
        assert math.isnan(found.interval.low)
        assert found.columns["status"] == "inconclusive"
        assert found.columns["reason"].startswith(f"{count} round")
    assert not data.is_enough


def test_a_machine_that_others_keep_busy_is_not_fit_to_publish() -> None:
    data = samples({A: noisy(2.0), B: noisy(1.0, seed=1)})
    assert data.unfit is None
    data.taken = 0.19 * data.seconds
    assert data.unfit is None
    data.taken = 0.5 * data.seconds
    assert data.unfit == (
        "not fit to publish: others took about 50 % of the processor while rounds were sampled; "
        "measure again on a quieter machine"
    )
    assert (samples({A: [1.0] * 3}).unfit or "").startswith("not fit to publish: 3 rounds, fewer than 10")
    block = [{"kind": "steal", "amount": 0.3}, {"kind": "foreign load", "amount": 0.2}, {"kind": "heat", "amount": 7.0}]
    assert external_load(block) == 0.5


def test_stages_are_compared_within_themselves() -> None:
    found = Samples(subjects=[("a", 0), ("a", 1), ("b", 0), ("b", 1)])
    for stage in (0, 1):
        block = [(m, name, n, 1.0 + n) for n in range(3) for m, name in (("throughput", "a"), ("throughput", "b"))]
        found.add(rows(block, stage), seconds=1.0)
    found.add(rows([("probe_peak", None, n, 1.0) for n in range(3)]), seconds=0.0)
    assert found.pairs() == [(("a", 0), ("b", 0)), (("a", 1), ("b", 1))]
    assert math.isfinite(found.ratio(("a", 1), ("b", 1), seed=0).estimate)
