"""Invariance to translation, rotation and scale: does the prediction survive when the image is transformed?

options                       what can be asked for
definitions                   protocols, their levels, and the config
analysis                      units of work; differences to a control
scores                        consistency, accuracy and the areas under their curves
figures, section, terminal    what is shown, from rows alone
"""

from __future__ import annotations

from stmbench.analyses.invariance.options import InvarianceOptions
from stmbench.analyses.registry import (
    ACCURACY,
    ACCURACY_DIFFERENCE,
    ACCURACY_ON_CORRECT,
    CONSISTENCY,
    CONSISTENCY_DIFFERENCE,
    OF_QUALITY,
    AnalysisSpec,
    Metric,
    percentage,
    register_analysis,
)

register_analysis(
    AnalysisSpec(
        name="invariance",
        title="Invariance",
        summary="""Consistency and accuracy under translation, rotation and scale, with intervals over images.

        translation moves the crop inside the resized image by 0 to 64 pixels, in one of eight directions for each
        image (a true shift: levels that the images are too small for are reported, or padded with --pad reflect);
        rotation turns the image about the crop's centre by 0 to 45 degrees, bicubic; scale crops a quarter to the
        whole of the image's shorter side and resizes it.
        """,
        order=50,
        options=InvarianceOptions,
        table_names=("invariance_translation", "invariance_rotation", "invariance_scale"),
        step_names={kind: {"kind": kind} for kind in ("translation", "rotation", "scale")},
        metrics=(
            ACCURACY,
            CONSISTENCY,
            percentage("consistency_on_correct", "consistency where right"),
            ACCURACY_ON_CORRECT,
            percentage("consistency_auc", "consistency, area", tracked=True),
            percentage("consistency_on_correct_auc", "consistency where right, area", tracked=True),
            percentage("accuracy_auc", "accuracy, area", tracked=True),
            Metric(name="soft_cross_entropy", unit="1", title="soft cross-entropy", shown_unit="nats", better="lower"),
            Metric(
                name="soft_cross_entropy_auc",
                unit="1",
                title="soft cross-entropy, area",
                shown_unit="nats",
                better="lower",
                tracking=OF_QUALITY,
            ),
            Metric(name="displacement", unit="px"),
            CONSISTENCY_DIFFERENCE,
            ACCURACY_DIFFERENCE,
        ),
        terminal="stmbench.analyses.invariance.terminal:terminal",
        figures="stmbench.analyses.invariance.figures:figures",
        section="stmbench.analyses.invariance.section:section",
        example="invariance rotation --mixers halo_attn,dw_conv --levels 0,15,30",
        of_detectors="box_consistency",
    )
)
