"""Adversarial robustness: the accuracy that remains when an adversary may change every pixel slightly.

options                       what can be asked for
attacks                       attacks by name
fgsm                          ours, on a model with its normalisation
analysis                      units of work
runner                        attacks batch by batch, and the checks that an attack was sound
outcomes                      what an attack did to each image, and its file
summary                       rows and paired tests
figures, section, terminal    what is shown, from rows alone
"""

from __future__ import annotations

from stmbench.analyses.registry import (
    ACCURACY,
    ACCURACY_DIFFERENCE,
    ACCURACY_ON_CORRECT,
    CONSISTENCY,
    CONSISTENCY_DIFFERENCE,
    MCNEMAR,
    MCNEMAR_HOLM,
    AnalysisSpec,
    Metric,
    register_analysis,
)
from stmbench.analyses.robustness.options import RobustnessOptions

register_analysis(
    AnalysisSpec(
        name="robustness",
        title="Adversarial robustness",
        summary="""Attack models: FGSM at several eps from one gradient, PGD, Auto-PGD; with checks and McNemar's test.

        Without arguments: the five mixers at scale micro, untrained, on photographs, at eps 0.5/255, 2/255 and 8/255.
        On a set without labels the model's own prediction is attacked, and what remains of it is called consistency.
        """,
        order=60,
        options=RobustnessOptions,
        metrics=(
            ACCURACY,
            CONSISTENCY,
            ACCURACY_ON_CORRECT,
            ACCURACY_DIFFERENCE,
            CONSISTENCY_DIFFERENCE,
            MCNEMAR,
            MCNEMAR_HOLM,
            Metric(name="zero_gradient_share", unit="1"),
            Metric(name="validity", unit="1", decimals=0),
        ),
        terminal="stmbench.analyses.robustness.terminal:terminal",
        figures="stmbench.analyses.robustness.figures:figures",
        section="stmbench.analyses.robustness.section:section",
        follow_levels=True,
        example="robustness --mixers halo_attn,dw_conv --attacks fgsm --eps 2/255,8/255",
    )
)
