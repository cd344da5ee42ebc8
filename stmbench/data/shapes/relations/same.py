"""`same`: a column of figures at the left edge, one at the right edge; are they of one kind?

Kind and colour go together, so that seeing is easy and comparing is what there is to learn.
"""

from __future__ import annotations

import numpy as np

from stmbench.data.shapes.relations.picture import MARGIN, STRIP, Figure, Plan, ground

CLASSES = ("different", "same")
KINDS = (("disc", "red"), ("square", "blue"))
NUMBER = 6  # of figures in a column
RADII = (0.85, 1.0)  # of the largest that fits into its strip
TILT = 0.2  # radians to either side


def plan(first: int, second: int, random: np.random.Generator) -> Plan:
    """See `stmbench.data.shapes.relations.catalog.Planner`: the facts say which kind stands on either side."""
    columns = tuple(_column(KINDS[fact], edge, random) for edge, fact in enumerate((first, second)))
    return Plan(label=int(first == second), ground=ground(random), groups=columns)


def _column(kind: tuple[str, str], edge: int, random: np.random.Generator) -> tuple[Figure, ...]:
    """At the left edge (0) or at the right one (1), from the top to the bottom, in a little disorder."""
    height = (1 - 2 * MARGIN) / NUMBER  # of the place of one figure, larger than STRIP
    name, colour = kind
    found = []
    for number in range(NUMBER):
        radius = STRIP / 2 * float(random.uniform(*RADII))
        across, down = (float(random.uniform(radius, room - radius)) for room in (STRIP, height))
        x, y = MARGIN + across, MARGIN + height * number + down
        turn = float(random.uniform(-TILT, TILT))
        found.append(Figure(kind=name, colour=colour, x=1 - x if edge else x, y=y, radius=radius, turn=turn))
    return tuple(found)
