"""Effective receptive fields: which pixels the central unit of each stage depends on, and how large that region is.

options                       what can be asked for
definitions                   definitions of the size, and the config
analysis                      units of work; gradients gathered over images, and the squares that hold them
unit_location                 where a unit lies on the input
figures, section, terminal    what is shown, from rows alone
"""

from __future__ import annotations

from stmbench.analyses.erf.options import ErfOptions
from stmbench.analyses.registry import AnalysisSpec, Metric, Tracking, register_analysis

register_analysis(
    AnalysisSpec(
        name="erf",
        title="Effective receptive field",
        summary="""Effective receptive fields of each stage: gradient maps, and ERF@50 with intervals over images.

        Without arguments: the five mixers at scale micro, untrained, on photographs. The receptive field of an
        untrained model says nothing about a trained one: give weights with --checkpoint.
        """,
        order=40,
        options=ErfOptions,
        metrics=(
            Metric(
                name="erf",
                unit="input_side",
                title="ERF",
                shown_unit="of the input's side",
                before_level="@",
                tracking=Tracking(smallest=0.01),
            ),
        ),
        terminal="stmbench.analyses.erf.terminal:terminal",
        figures="stmbench.analyses.erf.figures:figures",
        section="stmbench.analyses.erf.section:section",
        follow_levels=True,
        example="erf --mixers halo_attn,dw_conv --stages 3,4",
    )
)
