"""`connected`: a red and a blue curve from edge to edge, a dot on one end at either edge; are the dots on one curve?"""

from __future__ import annotations

import numpy as np

from stmbench.data.shapes.relations.picture import MARGIN, STRIP, Figure, Line, Plan, ground

CLASSES = ("apart", "connected")
COLOURS = ("red", "blue")
WIDTH = 0.025
SWING = 0.18  # how far a curve leaves the straight line between its ends
RADII = (0.85, 1.0)  # of the largest dot that fits into its strip


def plan(first: int, second: int, random: np.random.Generator) -> Plan:
    """See `stmbench.data.shapes.relations.catalog.Planner`: the facts say which curve has the dot at either edge."""
    ends = np.stack([random.permutation([0.25, 0.75]) for _ in range(2)], axis=1)  # (curve, edge) heights
    ends += random.uniform(-0.1, 0.1, (2, 2))
    lines, dots = [], []
    t = np.linspace(0, 1, 60)
    for colour, (start, stop) in zip(COLOURS, ends, strict=True):
        waves = random.uniform(-1, 1, 2) @ np.sin(np.pi * np.outer((1, 2), t)) / 2
        ease = t * t * (3 - 2 * t)
        x = MARGIN + STRIP / 2 + t * (1 - 2 * MARGIN - STRIP)
        y = start + (stop - start) * ease + SWING * waves
        lines.append(Line(points=np.stack([x, y], axis=1), colour=colour, width=WIDTH))
    for edge, curve in enumerate((first, second)):
        across, down = (float(value) for value in lines[curve].points[-edge])
        radius = STRIP / 2 * float(random.uniform(*RADII))
        dots.append((Figure(kind="disc", colour=COLOURS[curve], x=across, y=down, radius=radius),))
    return Plan(label=int(first == second), ground=ground(random), groups=tuple(dots), lines=tuple(lines))
