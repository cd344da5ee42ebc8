"""Frequencies: which ones a network's feature maps keep, and noise of which ones changes its answers.

options       what can be asked for, and the names of metrics and conditions
spectra       log amplitudes of feature maps (Park and Kim 2022)
noise         of one frequency, of a band of them, and answers under it (Yin et al. 2019)
analysis      units of work
figures, section, terminal    what is shown, from rows and the arrays beside them alone
"""

from __future__ import annotations

import dataclasses

from stmbench.analyses.frequency.options import AMPLITUDE, CHANGE, CHANGED, ERROR, NAME, FrequencyOptions
from stmbench.analyses.registry import ACCURACY, CONSISTENCY, AnalysisSpec, Metric, percentage, register_analysis

register_analysis(
    AnalysisSpec(
        name=NAME,
        title="Frequencies",
        summary="""Log amplitudes of feature maps by depth, and answers under noise of one frequency or band.

        The relative log amplitude of feature maps says whether a mixer is low-pass (Park and Kim 2022); the Fourier
        heat map and the accuracy under noise of a band of frequencies say which noise a network is sensitive to (Yin
        et al. 2019). Untrained networks have amplitudes, and only changed predictions in place of accuracy.
        """,
        order=65,
        options=FrequencyOptions,
        metrics=(
            Metric(name=AMPLITUDE, unit="1", title="relative log amplitude"),
            Metric(name=CHANGE, unit="1", title="change of relative log amplitude"),
            dataclasses.replace(percentage(ERROR, "wrong under noise of one frequency"), better="lower"),
            dataclasses.replace(percentage(CHANGED, "changed under noise of one frequency"), better="lower"),
            ACCURACY,
            CONSISTENCY,
        ),
        terminal="stmbench.analyses.frequency.terminal:terminal",
        figures="stmbench.analyses.frequency.figures:figures",
        section="stmbench.analyses.frequency.section:section",
        example="frequency --mixers halo_attn,dw_conv --parts spectra",
    )
)
