"""Where a figure's panes are that have an edge left and below, and the greys in them."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from stmbench.figures.differences import OTHERS
from stmbench.figures.style import MUTED


def lines_in(figure: Figure) -> list[Line2D]:
    """All lines that are in no axes."""
    return [artist for artist in figure.artists if isinstance(artist, Line2D)]


def boxes_of(figure: Figure) -> list[Bbox]:
    """Of each pane, in inches."""
    (edges,) = (line for line in lines_in(figure) if (line.get_color(), line.get_linewidth()) == (MUTED, 0.7))
    corners = np.asarray(edges.get_xydata()).reshape(-1, 4, 2)  # upper left, lower left, lower right, a gap
    return [Bbox([lower, (right[0], upper[1])]) for upper, lower, right, _ in corners]


def greys_of(figure: Figure) -> list[Bbox]:
    """Of each line in grey, the box around it in inches."""
    found = []
    for line in lines_in(figure):
        if line.get_color() == OTHERS:
            points = np.asarray(line.get_xydata())
            parts = np.ma.clump_unmasked(np.ma.masked_invalid(points[:, 0]))
            found += [Bbox([points[part].min(0), points[part].max(0)]) for part in parts]
    return found
