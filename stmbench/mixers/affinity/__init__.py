"""The affinity contract: A(X) of every mixer of the form Y = A(X) V, in one interface for dense and sparse forms.

module.affinity(x).rows(torch.tensor([25, 50]))  # (B, heads, 2, N_in), x: (B, H, W, C)
module.project(module.affinity(x).apply(module.values(x)), H, W)  # equals module(x)

base        the contract; the Jacobian affinity of anything differentiable
cascades    convolutions one after another, with gates between
columns     where columns lie; full matrices
combined    made of other affinities
scans       linear recurrences along paths over the map
sparse      windows, stencils and sampled points
"""

from stmbench.mixers.affinity.base import (
    DENSE_LIMIT,
    JACOBIAN_INSTEAD,
    Affinity,
    HasAffinity,
    Kind,
    affinity_of,
    has_affinity,
    jacobian_affinity,
    join_heads,
    split_into_heads,
)
from stmbench.mixers.affinity.cascades import CascadeAffinity
from stmbench.mixers.affinity.columns import Columns, map_columns, reduced_columns, with_cells, with_outside
from stmbench.mixers.affinity.combined import MixtureAffinity, RepeatedHeads, ScaledAffinity
from stmbench.mixers.affinity.dense import AttentionAffinity, CirculantAffinity, MatrixAffinity, ProductAffinity
from stmbench.mixers.affinity.scans import DecayAffinity, SelectiveScanAffinity
from stmbench.mixers.affinity.sparse import (
    PointAffinity,
    StencilAffinity,
    WindowAffinity,
    bilinear_points,
    square_offsets,
)

__all__ = [
    "DENSE_LIMIT",
    "JACOBIAN_INSTEAD",
    "Affinity",
    "AttentionAffinity",
    "CascadeAffinity",
    "CirculantAffinity",
    "Columns",
    "DecayAffinity",
    "HasAffinity",
    "Kind",
    "MatrixAffinity",
    "MixtureAffinity",
    "PointAffinity",
    "ProductAffinity",
    "RepeatedHeads",
    "ScaledAffinity",
    "SelectiveScanAffinity",
    "StencilAffinity",
    "WindowAffinity",
    "affinity_of",
    "bilinear_points",
    "has_affinity",
    "jacobian_affinity",
    "join_heads",
    "map_columns",
    "reduced_columns",
    "split_into_heads",
    "square_offsets",
    "with_cells",
    "with_outside",
]
