"""Average precision of detectors: boxes, and masks.

metrics    names and directions        options    what can be asked for        evaluation    units of work
figures, section, terminal    what is shown, from rows and artifacts alone
"""

from __future__ import annotations

from stmbench.analyses.detection.metrics import coco_metrics, differences
from stmbench.analyses.detection.options import DetectionOptions
from stmbench.analyses.registry import AnalysisSpec, Metric, register_analysis, share

register_analysis(
    AnalysisSpec(
        name="detection",
        title="Detection",
        summary="""Box and mask AP of detectors, as COCO defines them, with intervals over images.

        The models are detectors such as maskrcnn:unified_dw_conv_nano; `stmbench eval` calls this for them.
        """,
        order=35,
        options=DetectionOptions,
        metrics=(
            *coco_metrics(),
            *differences(),
            share("box_precision", "precision of boxes"),
            share("mask_precision", "precision of masks"),
            Metric(name="objects", unit="count"),
            Metric(name="detections", unit="count"),
            Metric(name="examples", unit="count"),
        ),
        terminal="stmbench.analyses.detection.terminal:terminal",
        figures="stmbench.analyses.detection.figures:figures",
        section="stmbench.analyses.detection.section:section",
        example="detection maskrcnn:unified_dw_conv_nano --checkpoint results/train",
    )
)
