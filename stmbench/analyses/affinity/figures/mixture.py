"""Alpha and beta by depth: how much of a mixture is dynamic and how much static (after Gao et al. 2021)."""

from __future__ import annotations

from typing import Final

import pandas as pd
from matplotlib.figure import Figure

from stmbench.analyses.affinity.figures.depth import beside, draw_lines, finish, lines_of, words_of
from stmbench.errors import TableError
from stmbench.figures.style import MUTED, canvas, heading

METRICS: Final = {"alpha": "alpha (dynamic)", "beta": "beta (static)"}


def mixture_by_depth(frame: pd.DataFrame) -> Figure:
    """A panel for each coefficient, a line for each model. Raises TableError where no model mixes two parts."""
    found = {}
    for metric in METRICS:
        try:
            found[metric] = lines_of(frame, metric)
        except TableError:
            continue
    if not found:
        raise TableError("alpha or beta of three layers", "none", "run `stmbench affinity` on a mixture")
    lines = next(iter(found.values()))[0]
    width = max(2.9 * len(found), 4.6) + 0.3 + beside(lines)
    with canvas(3.4, width=width, columns=len(found)) as (figure, panels):
        for axes, (metric, (of_metric, stages)) in zip(panels, found.items(), strict=True):
            draw_lines(axes, of_metric, stages)
            axes.annotate(METRICS[metric], (1, 1), (-2, -3), "axes fraction", textcoords="offset points",
                          ha="right", va="top", fontweight="bold", color=MUTED)  # fmt: skip
        panels[0].set_ylabel("coefficient")
        ends = [end for of_metric, _ in found.values() for line in of_metric for end in (*line.low, *line.high)]
        panels[0].set_ylim(1.1 * min(0.0, *ends), 1.15 * max(0.1, *ends))
        heading(panels[0], "Dynamic and static parts, by depth", words_of(frame, lines))
        finish(figure, panels[0], lines)
    return figure
