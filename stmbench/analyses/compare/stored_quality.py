"""Quality and cost of two stores: what has an interval is tested, what is counted is exact."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from stmbench.analyses.compare.answers import paired_answers
from stmbench.analyses.compare.conditions import Key, keys, words
from stmbench.analyses.compare.findings import Measured
from stmbench.measure.verdicts import Effect, paired_difference

COSTS = ("params", "macs")
HIGHER = ("accuracy", "accuracy_top5", "accuracy_on_correct", "consistency")
HIGHER_AREAS = ("consistency_auc", "accuracy_auc", "consistency_on_correct_auc")
LOWER = ("nll", "brier")
WHAT = (
    *("analysis", "definition", "model", "metric", "stage", "condition", "level"),
    *("dataset", "split", "num_images", "seed", "resolution", "dtype"),
)
COST = ("definition", "model", "metric", "stage", "resolution", "dataset")
HALF_WIDTHS = 2 * 1.959964  # standard errors across a 95 % interval


def quality(
    frames: tuple[pd.DataFrame, ...],
    folders: tuple[Path, Path],
    *,
    quality_margin: float,
    cost_margin: float,
    seed: int,
) -> Iterator[Measured]:
    """Parameters and MACs; accuracy, consistency and their kin, paired by image where both stores kept the answers.

    Without the answers the two intervals are taken as independent, which is wider than need be on the same images.
    """
    costs = [_newest(frame[frame["metric"].isin(COSTS) & frame["condition"].isna()], COST) for frame in frames]
    for key in [key for key in costs[0] if key in costs[1]]:
        yield _cost(key, *(float(found[key]["value"]) for found in costs), margin=cost_margin)
    qualities = [_newest(_tested(frame), WHAT) for frame in frames]
    for key in [key for key in qualities[0] if key in qualities[1]]:
        rows = [found[key] for found in qualities]
        named = dict(zip(WHAT, key, strict=True))
        answers = paired_answers(rows, frames, folders)
        effect = _difference(rows) if answers is None else paired_difference(*answers, seed=seed)
        reason = None
        if effect is None:
            reason = "no interval in one of the stores"
        yield Measured(
            model=named["model"],
            metric=named["metric"].replace("_", " "),
            conditions=words(named) + (", paired by image" if answers is not None else ""),
            kind="difference",
            lower_is_better=named["metric"] in LOWER,
            base=float(rows[0]["value"]),
            head=float(rows[1]["value"]),
            effect=effect,
            margin=quality_margin,
            rounds=named["num_images"],
            reason=reason,
        )


def _cost(key: Key, base: float, head: float, *, margin: float) -> Measured:
    named = dict(zip(COST, key, strict=True))
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


def _tested(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of the metrics that are tested; of an invariance curve its area, in place of a test for each level."""
    curves = frame["analysis"].str.startswith("invariance")
    wanted = frame["metric"].isin([*HIGHER, *LOWER]) & ~curves | frame["metric"].isin(HIGHER_AREAS)
    return frame[wanted & (frame["kind"] == "summary") & frame["baseline"].isna()]


def _newest(frame: pd.DataFrame, columns: tuple[str, ...]) -> dict[Key, Any]:
    """key -> its newest row that has a value."""
    good = frame[frame["value"].notna() & frame["model"].notna()]
    return dict(zip(keys(good, columns), good.to_dict("records"), strict=True))


def _difference(rows: list[Any]) -> Effect | None:
    errors = [(row["ci_high"] - row["ci_low"]) / HALF_WIDTHS for row in rows]
    if any(error != error for error in errors):
        return None
    count = min(int(row["num_images"]) if not pd.isna(row["num_images"]) else 0 for row in rows)
    return Effect(
        estimate=rows[1]["value"] - rows[0]["value"], error=(errors[0] ** 2 + errors[1] ** 2) ** 0.5, count=count
    )
