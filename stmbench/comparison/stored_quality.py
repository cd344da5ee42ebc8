"""Quality of two stores, tested by image or by its intervals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from stmbench.comparison.conditions import newest, words
from stmbench.comparison.findings import Measured
from stmbench.comparison.paired_predictions import paired_answers
from stmbench.measure.differences import difference_of_intervals, difference_of_proportions, paired_difference
from stmbench.measure.statistics import Interval
from stmbench.measure.verdicts import Effect

HIGHER = ("accuracy", "accuracy_top5", "accuracy_on_correct", "consistency")  # shares of images
HIGHER_AREAS = ("consistency_auc", "accuracy_auc", "consistency_on_correct_auc")
LOWER = ("nll", "brier")
WHAT = (
    *("analysis", "definition", "model", "metric", "stage", "condition", "level"),
    *("dataset", "split", "num_images", "seed", "resolution", "dtype"),
)
REACH = {"nll": None, "brier": 2.0}  # the most that one image can change; of shares and areas 1


def quality(
    frames: tuple[pd.DataFrame, ...],
    folders: tuple[Path, Path],
    *,
    margin: float,
) -> Iterator[Measured]:
    """Accuracy, consistency and their kin, paired by image where both stores kept the answers.

    Without the answers the two stores are taken as independent samples, which is wider than need be on the same images.
    """
    qualities = [newest(_tested(frame), WHAT) for frame in frames]
    for key in [key for key in qualities[0] if key in qualities[1]]:
        rows = [found[key] for found in qualities]
        named = dict(zip(WHAT, key, strict=True))
        answers = paired_answers(rows, frames, folders)
        reach = REACH.get(named["metric"], 1.0)
        effect = _difference(rows) if answers is None else paired_difference(*answers, reach=reach)
        reason = None
        if effect is None:
            reason = "no interval with a width in one of the stores"
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
    """Of rows without answers: shares of images by their counts, all else by its intervals; None where there are none.

    An interval of no width says that few images happened to agree, not that the value is known.
    """
    counts = [_images(row) for row in rows]
    if rows[0]["metric"] in HIGHER and all(counts):
        hits = [float(row["value"]) * count for row, count in zip(rows, counts, strict=True)]
        if all(abs(number - round(number)) < 1e-6 * max(1.0, number) for number in hits):
            return difference_of_proportions(
                *((round(number), count) for number, count in zip(hits, counts, strict=True))
            )
    if any(not row["ci_high"] > row["ci_low"] for row in rows):
        return None
    base, head = (
        Interval(estimate=row["value"], low=row["ci_low"], high=row["ci_high"], count=count)
        for row, count in zip(rows, counts, strict=True)
    )
    return difference_of_intervals(base, head)


def _images(row: Any) -> int:
    """How many images a row's share is of; 0 where it does not say."""
    counts = [row["num_samples"], row["num_images"]]
    return next((int(count) for count in counts if not pd.isna(count)), 0)
