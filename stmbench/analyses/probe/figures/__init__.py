"""Figures of the probes, from rows alone.

accuracies   accuracies, the best model first; and by epoch, of models with weights of several epochs
rankings     models under self-distillation against the same models under labels
"""

from __future__ import annotations

from matplotlib.figure import Figure

from stmbench.analyses.probe.figures.accuracies import accuracy_figures
from stmbench.analyses.probe.figures.rankings import against, rankings_of
from stmbench.analyses.registry import View


def figures(view: View) -> dict[str, Figure]:
    """Name -> figure; none where the rows hold nothing to draw."""
    found = accuracy_figures(view.rows)
    if (rankings := rankings_of(view.rows)) is not None:
        found["probe_rankings"] = against(rankings)
    return found
