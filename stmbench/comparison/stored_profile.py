"""Profiles of two stores: times relative to the probe, parameters and MACs exactly, peak memory almost.

A time is compared as the number of probe times it takes: how much slower head's machine was in that round cancels out.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from stmbench.analyses.profile.samples import LATENCY_REPEATS
from stmbench.comparison.findings import Measured, conditions_text, exact_count
from stmbench.measure.effects import Effect, unpaired_effect
from stmbench.measure.statistics import Floats, kept_rounds
from stmbench.tables.rows import Key, newest_rows, row_keys

# Two processes of one model, each with its probe, agree within 1.4 to 1.6 % (standard deviation; dw_conv, sw_attn) or
# 5 % (halo_attn, dcnv3) on two shared cores without bursts. Resampling the rounds of one run cannot see that.
BETWEEN_RUNS = 0.05
SETTING = ("definition", "device", "dtype", "compile", "dataset", "resolution")
ROUND = ("run_id", *SETTING)
WHAT = ("metric", "model", "stage", *SETTING)
PROBES = ("probe_peak", "probe_bandwidth")
TIMES = ("throughput", "latency")
SHOWN = {"throughput": "time per image", "latency": "latency"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Times:
    """One model in one setting: (rounds,) seconds per image and of the probe, and the number of disturbed rounds."""

    seconds: Floats
    probe: Floats
    batches: set[int]
    dropped: int

    @property
    def batch(self) -> str:
        """The batch size as text; a store may hold runs with several."""
        return " and ".join(map(str, sorted(self.batches)))


def speed(frames: tuple[pd.DataFrame, ...], *, margin: float, seed: int) -> Iterator[Measured]:
    """Time per image and latency of every model and setting that both stores sampled."""
    base, head = (_times(frame) for frame in frames)
    for key in [key for key in base if key in head]:
        named = dict(zip(WHAT, key, strict=True))
        reason = None
        if not same_machine(frames):
            reason = "measured on different machines, where one probe does not represent every model"
        elif base[key].batches != head[key].batches or len(base[key].batches) > 1:
            reason = f"batch {base[key].batch} against {head[key].batch}: profile both with --batch-size"
        effect = None
        if reason is None:
            relative = [times.seconds / times.probe for times in (base[key], head[key])]
            effect = unpaired_effect(*relative, seed=seed).widened(math.sqrt(2) * BETWEEN_RUNS)
        yield Measured(
            model=named["model"],
            metric=SHOWN[named["metric"]],
            conditions=conditions_text(named, batch=base[key].batch),
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
    passes: dict[Key, list[tuple[int, float, Round]]] = {}
    timed = raw[raw["metric"].isin(TIMES)]
    columns = zip(
        row_keys(timed, WHAT), row_keys(timed, ROUND), timed["sample"], timed["batch_size"], timed["value"], strict=True
    )
    for what, where, sample, batch, value in columns:
        # latency, in seconds, is sampled several times per round; throughput is in images per second
        number = sample // LATENCY_REPEATS if what[0] == "latency" else sample
        if (probe := probes.get((*where, number))) is not None:
            seconds = value if what[0] == "latency" else 1 / value
            passes.setdefault(what, []).append((int(batch), seconds, probe))
    return {what: _of_rounds(samples) for what, samples in passes.items()}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Round:
    """The probe in one round: seconds per multiply-add and per byte."""

    compute: float
    copy: float


def _probes(raw: pd.DataFrame) -> dict[Key, Round]:
    rates: dict[Key, dict[str, float]] = {}
    rows = raw[raw["metric"].isin(PROBES)]
    for where, sample, metric, value in zip(
        row_keys(rows, ROUND), rows["sample"], rows["metric"], rows["value"], strict=True
    ):
        rates.setdefault((*where, sample), {})[metric] = value
    return {
        key: Round(compute=1 / both[PROBES[0]], copy=1 / both[PROBES[1]])
        for key, both in rates.items()
        if len(both) == 2
    }


def _of_rounds(samples: list[tuple[int, float, Round]]) -> Times:
    """A model's samples by round, in order, without disturbed rounds."""
    by_round: dict[Round, list[float]] = {}
    for _, value, round_ in samples:
        by_round.setdefault(round_, []).append(value)
    compute, copy = (np.asarray([getattr(round_, name) for round_ in by_round]) for name in ("compute", "copy"))
    keep = kept_rounds(compute, copy)
    seconds = np.asarray([float(np.median(values)) for values in by_round.values()])
    # a model computes and moves data: the geometric mean of both halves of the probe
    probe = np.sqrt(compute * copy)
    return Times(
        seconds=seconds[keep], probe=probe[keep], batches={batch for batch, *_ in samples}, dropped=int((~keep).sum())
    )


COUNTED = {"params": "count", "macs": "MAC"}
COUNT = ("definition", "model", "metric", "stage", "resolution", "dataset")
MEMORY = (*COUNT, "device", "dtype", "compile")
# between fresh processes on Linux, resident memory of one model has a standard deviation of 0.1 to 0.4 MiB
BETWEEN_PROCESSES = 0.5 * 2**20  # bytes


def costs(frames: tuple[pd.DataFrame, ...], *, margin: float, memory_margin: float) -> Iterator[Measured]:
    """Parameters, MACs and peak memory of every model that both stores hold."""
    counted = [
        newest_rows(frame[frame["metric"].isin(list(COUNTED)) & frame["condition"].isna()], COUNT) for frame in frames
    ]
    for key in [key for key in counted[0] if key in counted[1]]:
        yield _counted(key, *(float(rows[key]["value"]) for rows in counted), margin=margin)
    yield from _memory(frames, margin=memory_margin)


def _counted(key: Key, base: float, head: float, *, margin: float) -> Measured:
    named = dict(zip(COUNT, key, strict=True))
    conditions = conditions_text({**named, "definition": None})
    unit = COUNTED[named["metric"]]
    return exact_count(named["model"], named["metric"], base, head, unit=unit, conditions=conditions, margin=margin)


def same_machine(frames: Sequence[pd.DataFrame]) -> bool:
    """Whether two stores were measured on the same machine; True if one does not say."""
    base, head = (frame.attrs["machines"] for frame in frames)
    return not (base and head) or bool(base == head)


def _memory(frames: tuple[pd.DataFrame, ...], *, margin: float) -> Iterator[Measured]:
    newest = [newest_rows(frame[frame["metric"] == "peak_memory"], MEMORY) for frame in frames]
    for key in [key for key in newest[0] if key in newest[1]]:
        named = dict(zip(MEMORY, key, strict=True))
        base, head = (float(rows[key]["value"]) for rows in newest)
        batches = ["unknown" if pd.isna(rows[key]["batch_size"]) else str(rows[key]["batch_size"]) for rows in newest]
        effect, reason = None, None
        if not same_machine(frames):
            reason = "measured on different machines"
        elif batches[0] != batches[1]:
            reason = f"batch {batches[0]} against {batches[1]}: profile both with --batch-size"
        elif min(base, head) <= 0:
            reason = "no ratio: one of the values is 0"
        else:
            error = BETWEEN_PROCESSES * math.hypot(1 / base, 1 / head)
            effect = Effect(estimate=math.log(head / base), error=error, count=1)
        yield Measured(
            model=named["model"],
            metric="peak memory",
            conditions=conditions_text(named, batch=batches[0]),
            unit="bytes",
            base=base,
            head=head,
            effect=effect,
            margin=margin,
            reason=reason,
        )
