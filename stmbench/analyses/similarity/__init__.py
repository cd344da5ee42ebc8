"""Similarity: how alike the layers of a model are, and those of different models, without labels or a classifier.

options     what can be asked for, and the names of metrics and conditions
measures    linear CKA (Nguyen et al. 2021), effective rank (Roy and Vetterli 2007), uniformity (Wang and Isola 2020)
layers      maps of a whole minibatch; what is kept of a model's layers
analysis    units of work: a model and its layers, a pair of models
figures, section, terminal    what is shown, from rows and the matrices beside them alone
"""

from __future__ import annotations

from stmbench.analyses.registry import AnalysisSpec, Metric, register_analysis
from stmbench.analyses.similarity.options import CKA, NAME, RANK, UNIFORMITY, SimilarityOptions

register_analysis(
    AnalysisSpec(
        name=NAME,
        title="Similarity of representations",
        summary="""CKA between layers and between models, effective rank and uniformity of features.

        Linear CKA compares what layers make of the same images, whatever basis they express it in (Nguyen et al.
        2021); the effective rank says how many directions features use (Roy and Vetterli 2007), uniformity how evenly
        they are spread (Wang and Isola 2020). Neither labels nor a classifier are needed, so models that were trained
        without labels are measured like all others.
        """,
        order=68,
        options=SimilarityOptions,
        metrics=(
            Metric(name=CKA, unit="1", title="CKA"),
            Metric(name=RANK, unit="1", title="effective rank", decimals=1),
            Metric(name=UNIFORMITY, unit="1", title="uniformity"),
        ),
        terminal="stmbench.analyses.similarity.terminal:terminal",
        figures="stmbench.analyses.similarity.figures:figures",
        section="stmbench.analyses.similarity.section:section",
        example="similarity --mixers halo_attn,dw_conv,identity",
    )
)
