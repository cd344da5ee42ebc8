"""Quality of two stores, tested by image or by its intervals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from stmbench.analyses.compare.answers import paired_answers
from stmbench.analyses.compare.conditions import newest, words
from stmbench.analyses.compare.findings import Measured
from stmbench.measure.verdicts import Effect, paired_difference

HIGHER = ("accuracy", "accuracy_top5", "accuracy_on_correct", "consistency")
HIGHER_AREAS = ("consistency_auc", "accuracy_auc", "consistency_on_correct_auc")
LOWER = ("nll", "brier")
WHAT = (
    *("analysis", "definition", "model", "metric", "stage", "condition", "level"),
    *("dataset", "split", "num_images", "seed", "resolution", "dtype"),
)
HALF_WIDTHS = 2 * 1.959964  # standard errors across a 95 % interval


def quality(
    frames: tuple[pd.DataFrame, ...],
    folders: tuple[Path, Path],
    *,
    margin: float,
    seed: int,
) -> Iterator[Measured]:
    """Accuracy, consistency and their kin, paired by image where both stores kept the answers.

    Without the answers the two intervals are taken as independent, which is wider than need be on the same images.
    """
    qualities = [newest(_tested(frame), WHAT) for frame in frames]
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
            margin=margin,
            rounds=named["num_images"],
            reason=reason,
        )


def _tested(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of the metrics that are tested; of an invariance curve its area, in place of a test for each level."""
    curves = frame["analysis"].str.startswith("invariance")
    by_definition = (frame["metric"] == "consistency") & (frame["level"] == 0)  # a model agrees with itself
    wanted = frame["metric"].isin([*HIGHER, *LOWER]) & ~curves & ~by_definition | frame["metric"].isin(HIGHER_AREAS)
    return frame[wanted & (frame["kind"] == "summary") & frame["baseline"].isna()]


def _difference(rows: list[Any]) -> Effect | None:
    errors = [(row["ci_high"] - row["ci_low"]) / HALF_WIDTHS for row in rows]
    if any(error != error for error in errors):
        return None
    count = min(int(row["num_images"]) if not pd.isna(row["num_images"]) else 0 for row in rows)
    return Effect(
        estimate=rows[1]["value"] - rows[0]["value"], error=(errors[0] ** 2 + errors[1] ** 2) ** 0.5, count=count
    )
