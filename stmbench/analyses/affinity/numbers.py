"""The numbers of one layer's affinity, for each image and head. docs/definitions/affinity.md has the formulas."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from stmbench.analyses.affinity.geometry import FIXED, Geometry
from stmbench.analyses.affinity.row_statistics import (
    DISTANCE,
    DX,
    DY,
    LOG,
    OWN,
    PADDING,
    REAL,
    SQUARES,
    part_sums,
    query_blocks,
    row_sums,
)
from stmbench.mixers.affinity import Affinity

NAMES = (
    "attention_distance",
    "affinity_entropy",
    "self_weight",
    "centroid_offset",
    "centroid_y",
    "centroid_x",
    "padding_mass",
)
WITHIN = "mass_within"  # one for each radius, after these
PARTS_ONLY = ("static_agreement", "static_share")  # of mixers with a static and a dynamic part
TINY = 1e-30


def layer_numbers(affinity: Affinity, geometry: Geometry) -> dict[str, Tensor]:
    """Means over the output positions, for each image and head.

    Returns:
        whole, and static and dynamic where there are both parts: (B or 1, heads, len(NAMES) + radii); 1 where the
        images share the weights. parts, where there are both: (B, heads, len(PARTS_ONLY)).
    """
    static, dynamic = affinity.static, affinity.dynamic
    found: dict[str, list[Tensor]] = {}
    if static is None or dynamic is None:
        for queries in query_blocks(affinity):
            found.setdefault("whole", []).append(row_numbers(row_sums(affinity, queries, geometry)))
    else:
        for queries in query_blocks(static, dynamic):
            sums = part_sums(static, dynamic, queries, geometry)
            for part in ("whole", "static", "dynamic"):
                found.setdefault(part, []).append(row_numbers(sums[part]))
            found.setdefault("parts", []).append(_compared(sums))
    # a row without any mass on the input has no distance: it is left out of the means
    return {part: torch.cat(rows, dim=2).double().nanmean(dim=2) for part, rows in found.items()}


def row_numbers(sums: Tensor) -> Tensor:
    """Sums (B, heads, Q, ...) of rows -> (B, heads, Q, len(NAMES) + radii)."""
    mass = sums[..., REAL]
    # after a subtraction what is left of nothing is a rounding error, not a mass
    mass = torch.where(mass > TINY, mass, torch.nan)
    share = sums / mass[..., None]
    entropy = (mass.log() - share[..., LOG]) / math.log(2)
    offset = torch.hypot(share[..., DY], share[..., DX])
    padding = sums[..., PADDING] / (sums[..., REAL] + sums[..., PADDING])
    named = (
        share[..., DISTANCE],
        entropy.clamp(min=0),
        share[..., OWN],
        offset,
        share[..., DY],
        share[..., DX],
        padding,
    )
    return torch.cat((torch.stack(named, dim=-1), share[..., len(FIXED) : LOG]), dim=-1)


def _compared(sums: dict[str, Tensor]) -> Tensor:
    """(B, heads, Q, 2): the cosine of the two parts' rows, and the static part's share of the mass of both."""
    static, dynamic = sums["static"], sums["dynamic"]
    cosine = sums["product"] / (static[..., SQUARES] * dynamic[..., SQUARES]).sqrt().clamp(min=TINY)
    masses = [part[..., REAL] + part[..., PADDING] for part in (static, dynamic)]
    return torch.stack((cosine, masses[0] / (masses[0] + masses[1])), dim=-1)


def metric_levels(radii: Sequence[float]) -> list[tuple[str, float | None]]:
    """(metric, level) of each number, in order."""
    return [*((name, None) for name in NAMES), *((WITHIN, radius) for radius in radii)]
