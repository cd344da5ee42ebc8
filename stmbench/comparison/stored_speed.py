"""Times of two stores, each measured beside the probe: how much longer head takes, in times of the probe."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from stmbench.analyses.profile.samples import LATENCY_REPEATS
from stmbench.comparison.conditions import Key, keys, same_machine, words
from stmbench.comparison.findings import Measured
from stmbench.measure.outliers import kept_rounds
from stmbench.measure.statistics import Floats
from stmbench.measure.verdicts import unpaired_effect

# Two processes of the same model, each beside a probe, agree to 1.4 to 1.6 % (standard deviation; dw_conv, sw_attn) or
# 5 % (halo_attn, dcnv3) on two shared cores when no burst hits. Resampling one run's rounds cannot see that.
BETWEEN_RUNS = 0.05
SETTING = ("definition", "device", "dtype", "compile", "dataset", "resolution")
ROUND = ("run_id", *SETTING)
WHAT = ("metric", "model", "stage", *SETTING)
PROBES = ("probe_peak", "probe_bandwidth")
TIMES = ("throughput", "latency")
SHOWN = {"throughput": "time per image", "latency": "latency"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Times:
    """One model under one setting: (rounds,) seconds an image, the probe's, and how many rounds it disturbed."""

    seconds: Floats
    probe: Floats
    batches: set[int]
    dropped: int

    @property
    def batch(self) -> str:
        """The batch size in words; runs of several sizes may lie in one store."""
        return " and ".join(map(str, sorted(self.batches)))


def speed(frames: tuple[pd.DataFrame, ...], *, margin: float, seed: int) -> Iterator[Measured]:
    """Time per image, and latency of one, of every model and setting that both stores sampled."""
    base, head = (_times(frame) for frame in frames)
    for key in [key for key in base if key in head]:
        named = dict(zip(WHAT, key, strict=True))
        reason = None
        if not same_machine(frames):
            reason = "measured on different machines: a probe does not stand for every model on both"
        elif base[key].batches != head[key].batches or len(base[key].batches) > 1:
            reason = f"batch {base[key].batch} against {head[key].batch}: profile both with --batch-size"
        effect = None
        if reason is None:
            relative = [times.seconds / times.probe for times in (base[key], head[key])]
            effect = unpaired_effect(*relative, seed=seed).widened(math.sqrt(2) * BETWEEN_RUNS)
        yield Measured(
            model=named["model"],
            metric=SHOWN[named["metric"]],
            conditions=words(named, batch=base[key].batch),
            unit="s",
            base=float(np.median(base[key].seconds)),
            head=float(np.median(head[key].seconds)),
            effect=effect,
            margin=margin,
            claims_same=False,
            rounds=min(len(base[key].seconds), len(head[key].seconds)),
            dropped=base[key].dropped + head[key].dropped,
            reason=reason,
        )


def _times(frame: pd.DataFrame) -> dict[Key, Times]:
    """(metric, model, stage, setting...) -> times."""
    raw = frame[(frame["kind"] == "raw") & (frame["status"] == "ok") & (frame["analysis"] == "profile")]
    probes = _probes(raw)
    found: dict[Key, list[tuple[int, float, Round]]] = {}
    timed = raw[raw["metric"].isin(TIMES)]
    columns = zip(
        keys(timed, WHAT), keys(timed, ROUND), timed["sample"], timed["batch_size"], timed["value"], strict=True
    )
    for what, where, sample, batch, value in columns:
        # a latency is sampled several times a round, and is seconds; a throughput is images in a second
        number = sample // LATENCY_REPEATS if what[0] == "latency" else sample
        if (probe := probes.get((*where, number))) is not None:
            seconds = value if what[0] == "latency" else 1 / value
            found.setdefault(what, []).append((int(batch), seconds, probe))
    return {what: _of_rounds(samples) for what, samples in found.items()}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Round:
    """The probe in one round: seconds of a multiply-add and of a byte."""

    compute: float
    copy: float


def _probes(raw: pd.DataFrame) -> dict[Key, Round]:
    rates: dict[Key, dict[str, float]] = {}
    rows = raw[raw["metric"].isin(PROBES)]
    for where, sample, metric, value in zip(
        keys(rows, ROUND), rows["sample"], rows["metric"], rows["value"], strict=True
    ):
        rates.setdefault((*where, sample), {})[metric] = value
    return {
        key: Round(compute=1 / both[PROBES[0]], copy=1 / both[PROBES[1]])
        for key, both in rates.items()
        if len(both) == 2
    }


def _of_rounds(samples: list[tuple[int, float, Round]]) -> Times:
    """A model's samples by round, in order, without the rounds that the probe calls disturbed."""
    by_round: dict[Round, list[float]] = {}
    for _, value, round_ in samples:
        by_round.setdefault(round_, []).append(value)
    compute, copy = (np.asarray([getattr(round_, name) for round_ in by_round]) for name in ("compute", "copy"))
    keep = kept_rounds(compute, copy)
    seconds = np.asarray([float(np.median(values)) for values in by_round.values()])
    # a model computes and moves: the geometric mean stands between the two halves of the probe
    probe = np.sqrt(compute * copy)
    return Times(
        seconds=seconds[keep], probe=probe[keep], batches={batch for batch, *_ in samples}, dropped=int((~keep).sum())
    )
