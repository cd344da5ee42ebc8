"""Figures of receptive fields.

maps       rows of a definition, and the maps behind them
plots      heat maps by stage, and every figure by name
scatter    their size against accuracy, and against the box AP of detectors
"""

from __future__ import annotations

from matplotlib.figure import Figure

from stmbench.analyses.erf.figures.plots import erf_figures
from stmbench.analyses.erf.options import OURS
from stmbench.analyses.registry import View


def figures(view: View) -> dict[str, Figure]:
    """Name -> figure; none where the rows hold nothing to draw."""
    return erf_figures(view.rows, view.definition or OURS, view.folder, beside=view.everything)
