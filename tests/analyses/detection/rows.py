"""Rows of the analysis as a run leaves them, with values that follow a rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stmbench.tables import Row, frame_of
from stmbench.tables.files import write_arrays
from tests.tables.frames import WHEN, with_attrs

MIXERS = {"halo_attn": 0.4, "sw_attn": 0.35, "dw_conv": 0.3, "identity": 0.25}  # box AP
CLASSES = ("disc", "ring", "star")
CONTROL = "maskrcnn:unified_identity_nano"
FACTORS = {
    **{"ap": 1.0, "ap50": 1.5, "ap75": 0.9, "ap_small": 0.5, "ap_medium": 1.1, "ap_large": 1.4},
    **{"ar1": 0.6, "ar10": 1.2, "ar100": 1.3, "ar_small": 0.7, "ar_medium": 1.2, "ar_large": 1.5},
}
REACHED = {"overlap=0.5": 0.8, "overlap=0.75": 0.4}  # recalls at which precision becomes 0


def example(
    *,
    mixers: tuple[str, ...] = tuple(MIXERS),
    kinds: tuple[str, ...] = ("box", "mask"),
    classes: tuple[str, ...] = CLASSES,
    without: tuple[str, ...] = (),
    **changes: Any,
) -> pd.DataFrame:
    """All rows of a run but examples; `without` are names of metrics, `changes` replace columns of every row."""
    rows = []
    for mixer in mixers:
        known: dict[str, Any] = {
            "run_id": "r", "created_utc": WHEN, "analysis": "detection", "definition": "detection.coco.v1",
            "model": f"maskrcnn:unified_{mixer}_nano", "architecture": "unified", "mixer": mixer, "scale": "nano",
            "weights": f"shapes.e12.s0:{mixer:0>12}", "seed": 0, "dataset": "shapes:123456789abc", "split": "test",
            "num_images": 48, "num_samples": 48, "device": "cpu", "dtype": "fp32", "resolution": "128x213",
            "unit": "1", "status": "ok", **changes,
        }  # fmt: skip
        for kind in kinds:
            value = MIXERS[mixer] * (0.9 if kind == "mask" else 1.0)
            for name, factor in FACTORS.items():
                if name not in without:
                    ends = {"ci_low": factor * value - 0.04, "ci_high": factor * value + 0.04}
                    rows.append(Row(**known, kind="summary", metric=f"{kind}_{name}", value=factor * value, **ends))
            for place, name in enumerate(classes):
                of_class = value + 0.1 * place * MIXERS[mixer]
                rows.append(Row(**known, kind="raw", metric=f"{kind}_ap", value=of_class, condition=f"class={name}"))
            for overlap, end in REACHED.items():
                for recall in np.linspace(0, 1, 101):
                    precision = max(0.0, 1 - recall / end)
                    rows.append(Row(**known, kind="raw", metric=f"{kind}_precision", value=precision,
                                    level=float(recall), condition=overlap))  # fmt: skip
            if mixer != "identity" and "identity" in mixers:
                gain = MIXERS[mixer] - MIXERS["identity"]
                rows.append(Row(**known, kind="summary", metric=f"{kind}_ap_difference", baseline=CONTROL, value=gain,
                                ci_low=gain - 0.06, ci_high=gain + 0.06))  # fmt: skip
    return with_attrs(frame_of(rows))


def with_examples(frame: pd.DataFrame, folder: Path, *, images: int = 2, masks: bool = True) -> pd.DataFrame:
    """The frame with examples for each model: image 0 has an object that the model finds, others have none found."""
    rows = []
    for place, row in enumerate(frame.drop_duplicates("model").to_dict("records")):
        arrays: dict[str, Any] = {"classes": np.array(CLASSES)}
        for number in range(images):
            found = int(number == 0)
            own = {
                "image": np.full((40, 60, 3), 128, np.uint8),
                "true_boxes": np.array([[10, 10, 30, 30]], np.float32),
                "true_labels": np.array([2]),
                "boxes": np.array([[12, 8, 32, 28]], np.float32)[:found],
                "labels": np.array([2])[:found],
                "scores": np.array([0.875], np.float32)[:found],
                "title": np.array(f"{number:06d}.png"),
            }
            if masks:
                inside = np.zeros((found, 40, 60), np.bool_)
                inside[:, 8:28, 12:32] = True
                own["masks"] = inside
            arrays |= {f"{number}.{name}": value for name, value in own.items()}
        path = folder / f"{place}.examples.npz"
        write_arrays(path, arrays)
        facts = {"kind": "raw", "metric": "examples", "unit": "count", "value": float(images), "condition": None}
        rows.append({**row, **facts, "level": float("nan"), "artifact": path.name})
    found_rows = pd.concat([frame, pd.DataFrame(rows).astype(frame.dtypes)], ignore_index=True)
    found_rows.attrs = frame.attrs
    return found_rows
