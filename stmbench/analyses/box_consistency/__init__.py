"""Box consistency: does a detector find the same boxes when images are scaled, turned or shifted?

options             what can be asked for; levels         images              how images are shown, boxes mapped back
analysis            units of work; differences            figures, section    what is shown, from rows alone
"""

from __future__ import annotations

from stmbench.analyses.box_consistency.options import BoxConsistencyOptions
from stmbench.analyses.detection.metrics import coco_metrics
from stmbench.analyses.registry import AnalysisSpec, Metric, percentage, register_analysis, share

KINDS = ("translation", "rotation", "scale")

register_analysis(
    AnalysisSpec(
        name="box_consistency",
        title="Box consistency",
        summary="""Whether detectors find the same boxes in scaled, turned and shifted images, with intervals.

        `stmbench invariance` calls this for detectors. The sure boxes of the image as it is are the ground truth;
        consistency is the average precision of those of the transformed image. scale: 0.25 to 3 times the sides
        of the detector's input; rotation: quarters of a turn; translation: 0 to 64 pixels of the input, on a
        larger canvas.
        """,
        order=51,
        options=BoxConsistencyOptions,
        table_names=tuple(f"box_consistency_{kind}" for kind in KINDS),
        metrics=(
            percentage("box_consistency", "box consistency"),
            percentage("box_consistency_auc", "box consistency, area", tracked=True),
            share("box_consistency_floor", "box consistency of resized pixels"),
            share("box_consistency_floor_auc", "box consistency of resized pixels, area"),
            percentage("box_consistency_difference", "box consistency, difference"),
            percentage("box_consistency_auc_difference", "box consistency, area, difference"),
            next(metric for metric in coco_metrics() if metric.name == "box_ap"),
            share("padding_share", "padding"),
            Metric(name="ground_truth_boxes", unit="count"),
        ),
        terminal="stmbench.analyses.box_consistency.section:terminal",
        figures="stmbench.analyses.box_consistency.figures:figures",
        section="stmbench.analyses.box_consistency.section:section",
        example="box_consistency scale maskrcnn:unified_dw_conv_nano --checkpoint results/train",
    )
)
