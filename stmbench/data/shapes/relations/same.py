"""`same`: a figure at the left edge, a figure at the right edge; are they of one kind?"""

from __future__ import annotations

import numpy as np

from stmbench.data.shapes.relations.picture import COLOURS, MARGIN, STRIP, Figure, Plan, ground

CLASSES = ("different", "same")
KINDS = ("disc", "ring", "cross", "triangle")
RADII = (0.8, 1.0)  # of the largest that fits into its strip
TILT = 0.2  # radians to either side


def plan(first: int, second: int, shared: np.random.Generator, random: np.random.Generator) -> Plan:
    """See `stmbench.data.shapes.relations.catalog.Planner`: the two facts choose one of two kinds each."""
    kinds = shared.permutation(KINDS)[:2]
    left, right = (_figure(str(kinds[fact]), edge, random) for edge, fact in enumerate((first, second)))
    return Plan(label=int(first == second), ground=ground(random), parts=(left, right))


def _figure(kind: str, edge: int, random: np.random.Generator) -> Figure:
    """At the left edge (0) or at the right one (1), at any height."""
    radius = STRIP / 2 * float(random.uniform(*RADII))
    along = MARGIN + float(random.uniform(radius, STRIP - radius))
    return Figure(
        kind=kind,
        colour=str(random.choice(list(COLOURS))),
        x=1 - along if edge else along,
        y=float(random.uniform(MARGIN + radius, 1 - MARGIN - radius)),
        radius=radius,
        turn=float(random.uniform(-TILT, TILT)),
    )
