"""Speed and costs of two models of one store: times paired by round, memory and counts as they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from stmbench.analyses.profile.samples import Samples
from stmbench.comparison.findings import Measured, conditions_text, exact_count
from stmbench.comparison.stored_profile import BETWEEN_PROCESSES
from stmbench.measure.effects import paired_effect
from stmbench.tables.labels import FEWEST_ROUNDS

SPEED_MARGIN: Final = 0.02  # a smaller difference of speed, memory or cost matters to nobody
COSTS: Final = {"peak_memory": "bytes", "params": "count", "macs": "MAC"}  # metric -> unit


def speeds(rows: pd.DataFrame, model: str, baseline: str) -> Iterator[Measured]:
    """Throughput, and latency of one image, paired by round of the newest profile that holds both models."""
    settings = ["device", "dtype", "compile", "resolution"]
    for _, run in rows.groupby(["definition", *settings], dropna=False, sort=False):
        runs = [group for _, group in run.groupby("run_id", sort=False) if {model, baseline} <= {*group["model"]}]
        if not runs:
            continue
        samples = Samples()
        samples.add(max(runs, key=lambda group: group["created_utc"].max()), 0.0)
        base, head = (baseline, None), (model, None)
        kept = samples.kept(base, head) if base in samples.throughput and head in samples.throughput else []
        named = {name: run[name].iloc[0] for name in settings}
        batch = next((str(int(size)) for size in run["batch_size"].dropna() if size > 1), None)
        if kept:
            rates = [samples.rates(key, kept) for key in (base, head)]
            yield _timed(model, "throughput", rates, conditions_text(named, batch=batch), len(kept))
        latencies = [np.median(samples.latencies(key), axis=1) for key in (base, head)]
        if all(len(values) == len(kept) for values in latencies) and kept:
            yield _timed(model, "latency of one image", latencies, conditions_text(named), len(kept))


def _timed(model: str, metric: str, values: Sequence[Any], conditions: str, rounds: int) -> Measured:
    is_rate = metric == "throughput"
    return Measured(
        model=model,
        metric=metric,
        conditions=conditions,
        unit="images/s" if is_rate else "s",
        lower_is_better=not is_rate,
        base=float(np.median(values[0])),
        head=float(np.median(values[1])),
        effect=paired_effect(*values),
        margin=SPEED_MARGIN,
        rounds=rounds,
        reason=None if rounds >= FEWEST_ROUNDS else f"{rounds} rounds, fewer than {FEWEST_ROUNDS}",
    )


def cost_rows(frame: pd.DataFrame) -> dict[tuple[str, str], dict[str, float]]:
    """(metric, resolution) -> model -> the newest value."""
    rows = frame[
        (frame["analysis"] == "profile")
        & frame["metric"].isin([*COSTS])
        & (frame["kind"] == "summary")
        & frame["condition"].isna()
        & frame["stage"].isna()
        & frame["value"].notna()
        & frame["resolution"].notna()
    ].sort_values("created_utc", kind="stable")
    found: dict[tuple[str, str], dict[str, float]] = {}
    for metric, resolution, model, value in rows[["metric", "resolution", "model", "value"]].to_numpy():
        found.setdefault((metric, resolution), {})[model] = float(value)
    return found


def costs_of(costs: Mapping[tuple[str, str], Mapping[str, float]], model: str, baseline: str) -> Iterator[Measured]:
    """Peak memory, parameters and MACs, at the sizes that both models have."""
    for metric, unit in COSTS.items():
        for resolution in [size for name, size in costs if name == metric]:
            of = costs[metric, resolution]
            if not {model, baseline} <= of.keys():
                continue
            base, head = of[baseline], of[model]
            count = exact_count(
                model, metric.replace("_", " "), base, head, unit=unit, conditions=f"{resolution} px",
                margin=SPEED_MARGIN,
            )  # fmt: skip
            if metric == "peak_memory" and count.effect is not None:
                error = BETWEEN_PROCESSES * float(np.hypot(1 / base, 1 / head))
                count = dataclasses.replace(count, effect=dataclasses.replace(count.effect, error=error))
            yield count
