"""The metrics of detection: COCO's, with their directions and how they are shown."""

from __future__ import annotations

import dataclasses
from typing import Final

from stmbench.analyses.registry import Metric, percentage

WHAT: Final = {"box": "box", "mask": "mask"}
AVERAGE_PRECISION: Final = {
    "ap": "AP",
    "ap50": "AP50",
    "ap75": "AP75",
    "ap_small": "AP of small objects",
    "ap_medium": "AP of medium objects",
    "ap_large": "AP of large objects",
}
RECALL: Final = {
    "ar1": "AR, 1 detection",
    "ar10": "AR, 10 detections",
    "ar100": "AR, 100 detections",
    "ar_small": "AR of small objects",
    "ar_medium": "AR of medium objects",
    "ar_large": "AR of large objects",
}


def coco_metrics() -> tuple[Metric, ...]:
    """Average precision and recall of boxes and of masks."""
    return tuple(
        percentage(f"{prefix}_{name}", f"{what} {title}", tracked=name == "ap")
        for prefix, what in WHAT.items()
        for name, title in {**AVERAGE_PRECISION, **RECALL}.items()
    )


def differences() -> tuple[Metric, ...]:
    """Differences to the control."""
    return tuple(
        percentage(f"{prefix}_{name}_difference", f"{what} {title}, difference")
        for prefix, what in WHAT.items()
        for name, title in (("ap", "AP"), ("ap50", "AP50"), ("ap75", "AP75"))
    )


OF_TRAINING: Final = (
    *(metric for metric in coco_metrics() if metric.name.partition("_")[2] in ("ap", "ap50", "ap75")),
    percentage("best_box_ap", "box AP of the best epoch"),
    dataclasses.replace(percentage("box_ap_raw", ""), shown_unit=None, factor=1.0),
)
