"""Probes of frozen features: how well neighbours, or a linear classifier, tell the classes apart.

options       what can be asked for, and the names of metrics
bank          images of the training split, and whether the queries can be judged by them
features      features of a network's images, extracted once and kept; collapse
linear        linear classifiers of features: SGD with a sweep of learning rates, logistic regression
analysis      units of work
figures, section, terminal    what is shown, from rows alone
"""

from __future__ import annotations

import dataclasses

from stmbench.analyses.probe.options import (
    CHOICE,
    COSINE,
    FEATURES,
    HELD_OUT,
    KNN_TOP5,
    LINEAR,
    NAME,
    ProbeOptions,
)
from stmbench.analyses.registry import (
    ACCURACY_DIFFERENCE,
    AT_K,
    KNN_ACCURACY,
    AnalysisSpec,
    Metric,
    percentage,
    register_analysis,
)

register_analysis(
    AnalysisSpec(
        name=NAME,
        title="Probes of features",
        summary="""kNN and linear classifiers of frozen features: what a network has learnt, without its own classifier.

        The network's head is dropped. Its features of the training images are the bank, those of the test images the
        queries; they are extracted once and kept in the store. kNN as for DINO (Caron et al. 2021), a linear classifier
        by SGD with a sweep of learning rates, or logistic regression.
        Without arguments: the five mixers at scale micro, untrained, on the digits.
        """,
        order=36,
        options=ProbeOptions,
        metrics=(
            KNN_ACCURACY,
            dataclasses.replace(percentage(KNN_TOP5, "kNN top-5 accuracy"), before_level=AT_K),
            percentage(LINEAR, "linear accuracy", tracked=True),
            ACCURACY_DIFFERENCE,
            percentage(HELD_OUT, "accuracy of held-out training images"),
            Metric(name=CHOICE, unit="1", title="chosen learning rate or strength", decimals=3),
            Metric(name=COSINE, unit="1", title="mean cosine of features", decimals=3),
            Metric(name=FEATURES, unit="count"),
        ),
        terminal="stmbench.analyses.probe.terminal:terminal",
        figures="stmbench.analyses.probe.figures:figures",
        section="stmbench.analyses.probe.section:section",
        follow_levels=True,
        example="probe unified_dw_conv_nano --checkpoint FILE --methods knn --k 20",
    )
)
