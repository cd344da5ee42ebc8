"""Accuracy, calibration and likelihood on a labelled set.

options    what can be asked for        evaluation    units of work: predictions and what they are worth
figures, section, terminal    what is shown, from rows alone
"""

from __future__ import annotations

from stmbench.analyses.eval.options import EvalOptions
from stmbench.analyses.registry import (
    ACCURACY,
    ACCURACY_DIFFERENCE,
    ACCURACY_TOP5,
    MCNEMAR,
    MCNEMAR_HOLM,
    NLL,
    OF_QUALITY,
    AnalysisSpec,
    Metric,
    register_analysis,
)

register_analysis(
    AnalysisSpec(
        name="eval",
        title="Accuracy",
        summary="""Top-1 and top-5 accuracy, calibration error, likelihood, with intervals over images.

        Without arguments: the five mixers at scale micro, untrained, on the test digits. All images are used unless
        --num-images says otherwise.
        """,
        order=30,
        options=EvalOptions,
        metrics=(
            ACCURACY,
            ACCURACY_TOP5,
            Metric(
                name="calibration_error",
                unit="1",
                title="calibration error",
                shown_unit="%",
                factor=0.01,
                decimals=1,
                better="lower",
                tracking=OF_QUALITY,
            ),
            NLL,
            Metric(name="brier", unit="1", title="Brier score", better="lower", tracking=OF_QUALITY),
            Metric(name="predictions", unit="count"),
            ACCURACY_DIFFERENCE,
            MCNEMAR,
            MCNEMAR_HOLM,
        ),
        terminal="stmbench.analyses.eval.terminal:terminal",
        figures="stmbench.analyses.eval.figures:figures",
        section="stmbench.analyses.eval.section:section",
        example="eval -m unified_dw_conv_nano --checkpoint FILE --dataset digits",
        of_detectors="detection",
    )
)
