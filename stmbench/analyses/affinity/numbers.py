"""The numbers of one layer's affinity, for each image and head. docs/definitions/affinity.md has the formulas."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from stmbench.analyses.affinity.geometry import FIXED, Geometry
from stmbench.analyses.affinity.sums import (
    DISTANCE,
    DX,
    DY,
    LOG,
    OWN,
    PADDING,
    REAL,
    SQUARES,
    at,
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


def numbers(affinity: Affinity, geometry: Geometry) -> Tensor:
    """(B or 1, heads, len(NAMES) + radii), means over the output positions; 1 where the images share the weights."""
    found = [row_numbers(row_sums(affinity, queries, geometry)) for queries in query_blocks(affinity)]
    # a row without any mass on the input has no distance: it is left out of the means
    return torch.cat(found, dim=2).double().nanmean(dim=2)


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


def part_numbers(static: Affinity, dynamic: Affinity, geometry: Geometry) -> Tensor:
    """How the parts of an affinity compare: (B, heads, 2), means over the output positions.

    The first is the cosine between the rows of the two, the second the static part's share of the mass of both.
    """
    found = []
    for queries in query_blocks(dynamic):
        columns, weights = static.entries(queries)
        product = (weights * at(dynamic, queries, columns)).float().sum(dim=-1)
        first, second = (row_sums(part, queries, geometry) for part in (static, dynamic))
        cosine = product / (first[..., SQUARES] * second[..., SQUARES]).sqrt().clamp(min=TINY)
        masses = [sums[..., REAL] + sums[..., PADDING] for sums in (first, second)]
        found.append(torch.stack((cosine, masses[0] / (masses[0] + masses[1])), dim=-1))
    return torch.cat(found, dim=2).double().mean(dim=2)


def metric_levels(radii: Sequence[float]) -> list[tuple[str, float | None]]:
    """(metric, level) of each number, in order."""
    return [*((name, None) for name in NAMES), *((WITHIN, radius) for radius in radii)]
