"""A made-up test of robustness: what the tests of its figure and its table work on."""

from __future__ import annotations

from typing import Any

import pandas as pd

from stmbench.tables import Row, frame_of
from tests.tables.frames import MIXERS, WHEN, with_attrs

EPS = (0.0, 0.5 / 255, 2 / 255, 8 / 255)
FGSM, PGD = "stmbench.fgsm.v1", "torchattacks.pgd10.v3.5.1"
LEFT = (0.78, 0.61, 0.34, 0.12)


def attacked(
    mixer: str = "dw_conv", *, scale: str = "micro", definition: str = FGSM, factor: float = 1.0, **changes: Any
) -> list[Row]:
    """Summary rows of one model at every eps; `factor` scales what is left of it."""
    known: dict[str, Any] = {
        "run_id": "20260314T092653-ab12", "created_utc": WHEN, "kind": "summary", "analysis": "robustness",
        "definition": definition, "model": f"unified_{mixer}_{scale}", "architecture": "unified", "mixer": mixer,
        "scale": scale, "weights": "random:0", "seed": 0, "dataset": "digits:0123456789ab", "split": "test",
        "num_images": 200, "device": "cpu", "dtype": "fp32", "resolution": 224, "metric": "accuracy", "unit": "1",
    }  # fmt: skip
    rows = []
    for eps, left in zip(EPS, LEFT, strict=True):
        value = factor * left
        interval = {"value": value, "ci_low": max(0.0, value - 0.05), "ci_high": min(1.0, value + 0.05)}
        rows.append(Row(**{**known, "level": eps, **interval, **changes}))
    return rows


def of_five(**changes: Any) -> list[Row]:
    """All five mixers, one better than the other."""
    return [row for place, mixer in enumerate(MIXERS) for row in attacked(mixer, factor=1 - 0.12 * place, **changes)]


def frame(rows: list[Row]) -> pd.DataFrame:
    """The rows with a store's attrs."""
    return with_attrs(frame_of(rows))
