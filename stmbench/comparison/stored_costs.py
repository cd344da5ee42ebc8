"""Costs of two stores: parameters and MACs are counted, so exact; peak memory is read, so almost."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from stmbench.comparison.conditions import Key, newest, same_machine, words
from stmbench.comparison.findings import Measured
from stmbench.measure.verdicts import Effect

COUNTED = ("params", "macs")
COUNT = ("definition", "model", "metric", "stage", "resolution", "dataset")
READ = (*COUNT, "device", "dtype", "compile")
# standard deviation of the resident memory that one model took in fresh processes on Linux: 0.1 to 0.4 MiB
BETWEEN_PROCESSES = 0.5 * 2**20  # bytes


def costs(frames: tuple[pd.DataFrame, ...], *, margin: float, memory_margin: float) -> Iterator[Measured]:
    """Parameters, MACs and peak memory of every model that both stores hold."""
    counted = [newest(frame[frame["metric"].isin(COUNTED) & frame["condition"].isna()], COUNT) for frame in frames]
    for key in [key for key in counted[0] if key in counted[1]]:
        yield _counted(key, *(float(found[key]["value"]) for found in counted), margin=margin)
    yield from _memory(frames, margin=memory_margin)


def _counted(key: Key, base: float, head: float, *, margin: float) -> Measured:
    named = dict(zip(COUNT, key, strict=True))
    effect = Effect(estimate=math.log(head / base), error=0.0, count=1) if base > 0 and head > 0 else None
    return Measured(
        model=named["model"],
        metric=named["metric"],
        conditions=words({**named, "definition": None}),
        unit="MAC" if named["metric"] == "macs" else "count",
        base=base,
        head=head,
        effect=effect,
        margin=margin,
        reason=None if effect is not None else "nothing to take a ratio of",
    )


def _memory(frames: tuple[pd.DataFrame, ...], *, margin: float) -> Iterator[Measured]:
    found = [newest(frame[frame["metric"] == "peak_memory"], READ) for frame in frames]
    for key in [key for key in found[0] if key in found[1]]:
        named = dict(zip(READ, key, strict=True))
        base, head = (float(rows[key]["value"]) for rows in found)
        batches = ["unknown" if pd.isna(rows[key]["batch_size"]) else str(rows[key]["batch_size"]) for rows in found]
        effect, reason = None, None
        if not same_machine(frames):
            reason = "measured on different machines"
        elif batches[0] != batches[1]:
            reason = f"batch {batches[0]} against {batches[1]}: profile both with --batch-size"
        elif min(base, head) <= 0:
            reason = "nothing to take a ratio of"
        else:
            error = BETWEEN_PROCESSES * math.hypot(1 / base, 1 / head)
            effect = Effect(estimate=math.log(head / base), error=error, count=1)
        yield Measured(
            model=named["model"],
            metric="peak memory",
            conditions=words(named, batch=batches[0]),
            unit="bytes",
            base=base,
            head=head,
            effect=effect,
            margin=margin,
            reason=reason,
        )
