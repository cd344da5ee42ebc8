"""Accuracy under the fifteen corruptions of ImageNet-C, and errors relative to a baseline model (mCE).

options        the corruptions by name, and what can be asked for
transforms     `corrupt`: a batch with one corruption at one severity    draws       random numbers of an image
noise, blur, weather, digital    the transforms by family                textures    fog's plasma and frost's ice
resampling     what several of them share: smoothing, zoom, motion, 8 bits
analysis       units of work, one per model and corruption               scores      mean accuracies, CE and mCE
figures, section, terminal    what is shown, from rows alone
"""

from __future__ import annotations

from stmbench.analyses.corruption.options import CorruptionOptions
from stmbench.analyses.registry import (
    ACCURACY,
    ACCURACY_DIFFERENCE,
    AnalysisSpec,
    Metric,
    percentage,
    register_analysis,
)


def _error(name: str, title: str) -> Metric:
    """A ratio of errors in per cent of the baseline's."""
    return Metric(name=name, unit="1", title=title, shown_unit="%", factor=0.01, decimals=1, better="lower")


register_analysis(
    AnalysisSpec(
        name="corruption",
        title="Common corruptions",
        summary="""Accuracy under the fifteen corruptions of ImageNet-C at five severities; mCE relative to a baseline.

        Noise, blur, weather and digital corruptions with the parameters of Hendrycks and Dietterich (2019), each image
        with its own random numbers. --baseline names the model that errors are also given relative to, of this run or
        of the store.
        Without arguments: the five mixers at scale micro, untrained, on the test digits.
        """,
        order=55,
        options=CorruptionOptions,
        metrics=(
            ACCURACY,
            percentage("mean_accuracy", "mean accuracy", tracked=True),
            _error("corruption_error", "corruption error"),
            _error("relative_corruption_error", "relative corruption error"),
            _error("mean_corruption_error", "mCE"),
            _error("relative_mean_corruption_error", "relative mCE"),
            ACCURACY_DIFFERENCE,
        ),
        terminal="stmbench.analyses.corruption.terminal:terminal",
        figures="stmbench.analyses.corruption.figures:figures",
        section="stmbench.analyses.corruption.section:section",
        example="corruption -m unified_dw_conv_nano,unified_sr_attn_nano --baseline unified_dw_conv_nano",
    )
)
