"""Rows of the analysis as a run leaves them, with values that follow a rule."""

from __future__ import annotations

from typing import Any

import pandas as pd

from stmbench.analyses.corruption.options import CLEAN, CORRUPTIONS, chosen_corruptions, means_over, overall
from stmbench.tables import Row, frame_of
from tests.tables.frames import WHEN

MIXERS = {"halo_attn": 0.82, "sw_attn": 0.8, "dw_conv": 0.76, "sr_attn": 0.74, "dcn_v3": 0.79}  # clean accuracies
BASELINE = "dw_conv"


def accuracy(mixer: str, corruption: str, severity: int) -> float:
    """Falls with severity, faster for later corruptions."""
    if corruption == CLEAN:
        return MIXERS[mixer]
    place = CORRUPTIONS.index(corruption)
    return MIXERS[mixer] * (1 - severity * (0.04 + 0.005 * ((3 * place + len(mixer)) % 15)))


def mean_accuracy(mixer: str, corruptions: tuple[str, ...]) -> float:
    """Over all severities."""
    return sum(accuracy(mixer, name, level) for name in corruptions for level in range(1, 6)) / (5 * len(corruptions))


def example(
    corruptions: tuple[str, ...] = (),
    *,
    mixers: tuple[str, ...] = tuple(MIXERS),
    baseline: str | None = BASELINE,
    **changes: Any,
) -> pd.DataFrame:
    """All rows of a run; `changes` replace columns of every row."""
    corruptions = chosen_corruptions(corruptions)
    known: dict[str, Any] = {
        "run_id": "r", "created_utc": WHEN, "kind": "summary", "analysis": "corruption", "scale": "micro",
        "architecture": "unified", "weights": "stm.pth:0123456789ab", "seed": 0, "dataset": "imagenet:abc",
        "num_images": 2000, "resolution": "224", "unit": "1", "status": "ok", "dtype": "fp32", "device": "cpu",
        "definition": "corruption.stmbench.v1", "num_samples": 2000,
    }  # fmt: skip
    known |= changes
    rows = []

    def add(mixer: str, metric: str, value: float, spread: float, **columns: Any) -> None:
        ends = {"ci_low": max(0.0, value - spread), "ci_high": value + spread}
        rows.append(Row(**known, model=f"unified_{mixer}_micro", mixer=mixer, metric=metric, value=value, **ends,
                        **columns))  # fmt: skip

    for mixer in mixers:
        add(mixer, "accuracy", accuracy(mixer, CLEAN, 0), 0.02, condition=CLEAN, level=0.0)
        for name in corruptions:
            for level in range(1, 6):
                add(mixer, "accuracy", accuracy(mixer, name, level), 0.02, condition=name, level=float(level))
        for condition, names in means_over(corruptions).items():
            add(mixer, "mean_accuracy", mean_accuracy(mixer, names), 0.01, condition=condition)
        if baseline is None or mixer == baseline:
            continue
        errors = {
            name: (1 - mean_accuracy(mixer, (name,))) / (1 - mean_accuracy(baseline, (name,))) for name in corruptions
        }
        against = {"baseline": f"unified_{baseline}_micro"}
        for name, value in errors.items():
            add(mixer, "corruption_error", value, 0.03, condition=name, **against)
        total = sum(errors.values()) / len(errors)
        add(mixer, "mean_corruption_error", total, 0.015, condition=overall(corruptions), **against)
        add(mixer, "relative_mean_corruption_error", total + 0.1, 0.03, condition=overall(corruptions), **against)
    return frame_of(rows)
