"""Affinity: how strongly each output position depends on each input position, as maps and in numbers.

options                       what can be asked for, and its checks
layers                        which layers, and distances between positions
analysis                      units of work
study                         what every study of a layer does
studies                       affinities that mixers offer, and Jacobians of any module
maps                          maps, rows and files
row_statistics                numbers of a row of an affinity
figures, section, terminal    what is shown, from rows alone
"""

from __future__ import annotations

from stmbench.analyses.affinity.options import AffinityOptions
from stmbench.analyses.registry import AnalysisSpec, Metric, register_analysis, share

register_analysis(
    AnalysisSpec(
        name="affinity",
        title="Affinity",
        summary="""Where mixers attend: affinity maps, attention distance, entropy, locality, of every layer and head.

        Without arguments: the five mixers at scale micro, untrained, on 8 photographs. Numbers are taken of all layers;
        maps of --layers, --positions and --heads.
        """,
        order=70,
        options=AffinityOptions,
        metrics=(
            Metric(name="attention_distance", unit="px", title="attention distance", decimals=1),
            Metric(name="affinity_entropy", unit="bit", title="entropy", decimals=2),
            share("mass_within", "weight within a radius"),
            share("self_weight", "self weight"),
            Metric(name="centroid_offset", unit="px", title="centroid offset", decimals=1),
            Metric(name="centroid_y", unit="px"),
            Metric(name="centroid_x", unit="px"),
            share("padding_mass", "weight on padding"),
            Metric(name="static_agreement", unit="1", title="static agreement", shown_unit="", decimals=2),
            Metric(name="static_share", unit="1"),
            Metric(name="alpha", unit="1", title="alpha", shown_unit="", decimals=2),
            Metric(name="beta", unit="1", title="beta", shown_unit="", decimals=2),
            Metric(name="affinity_map", unit="1"),
        ),
        terminal="stmbench.analyses.affinity.terminal:terminal",
        figures="stmbench.analyses.affinity.figures:figures",
        section="stmbench.analyses.affinity.section:section",
        example="affinity --mixers halo_attn,dcnv3 --layers first,last --positions 90",
    )
)
