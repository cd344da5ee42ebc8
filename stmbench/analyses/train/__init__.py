"""What training runs leave in a store: curves, final accuracies, times. The loop itself is in `stmbench.training`.

figures, section, terminal    what is shown, from rows alone
"""

from __future__ import annotations

from stmbench.analyses.detection.metrics import OF_TRAINING
from stmbench.analyses.registry import (
    ACCURACY,
    ACCURACY_TOP5,
    KNN_ACCURACY,
    NLL,
    AnalysisSpec,
    Metric,
    percentage,
    register_analysis,
)

register_analysis(
    AnalysisSpec(
        name="train",
        title="Training",
        summary="Curves, final accuracy and time of training runs.",
        order=10,
        metrics=(
            ACCURACY,
            ACCURACY_TOP5,
            NLL,
            *OF_TRAINING,
            percentage("best_accuracy", "accuracy of the best epoch"),
            KNN_ACCURACY,
            percentage("best_knn_accuracy", "kNN accuracy of the best epoch"),
            percentage("instance_accuracy", "accuracy of nearest views"),
            percentage("best_instance_accuracy", "accuracy of nearest views of the best epoch"),
            Metric(name="teacher_entropy", unit="1", title="entropy of the teacher", shown_unit="nats"),
            Metric(name="teacher_divergence", unit="1", title="divergence of the student", shown_unit="nats"),
            Metric(name="accuracy_raw", unit="1", better="higher"),
            Metric(name="train_loss", unit="1", better="lower"),
            Metric(name="test_loss", unit="1", better="lower"),
            Metric(name="losses", unit="count"),
            Metric(name="weights", unit="count"),
            Metric(name="learning_rate", unit="1"),
            Metric(name="training_time", unit="s", title="time", decimals=0, better="lower"),
        ),
        terminal="stmbench.analyses.train.terminal:terminal",
        figures="stmbench.analyses.train.figures:figures",
        section="stmbench.analyses.train.section:section",
    )
)
