"""`larger`: a red and a blue disc and a cross in three corners; is the disc of the cross's colour the larger one?

Without the cross, sizes weighed by colour would add up to the answer, window by window.
"""

from __future__ import annotations

import numpy as np

from stmbench.data.shapes.relations.picture import MARGIN, STRIP, Figure, Plan, ground

CLASSES = ("smaller", "larger")
COLOURS = ("red", "blue")
RADII = {"large": (0.9, 1.0), "small": (0.45, 0.55)}  # of the largest that fits into its corner


def plan(first: int, second: int, random: np.random.Generator) -> Plan:
    """See `stmbench.data.shapes.relations.catalog.Planner`: which disc is large, and the colour of the cross."""
    corners = random.permutation(4)[:3]
    mark = _figure("cross", COLOURS[second], "large", int(corners[0]), random)
    discs = [
        _figure("disc", colour, "large" if number == first else "small", int(corner), random)
        for number, (colour, corner) in enumerate(zip(COLOURS, corners[1:], strict=True))
    ]
    return Plan(label=int(first == second), ground=ground(random), groups=tuple((part,) for part in (mark, *discs)))


def _figure(kind: str, colour: str, size: str, corner: int, random: np.random.Generator) -> Figure:
    radius = STRIP / 2 * float(random.uniform(*RADII[size]))
    x, y = (MARGIN + float(random.uniform(radius, STRIP - radius)) for _ in range(2))
    return Figure(kind=kind, colour=colour, x=1 - x if corner % 2 else x, y=1 - y if corner // 2 else y, radius=radius)
