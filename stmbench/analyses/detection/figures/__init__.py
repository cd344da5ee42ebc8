"""Figures of detection.

plots       average precision of models, sizes, classes and overlaps
drawings    what is detected in example images
"""

from __future__ import annotations

from matplotlib.figure import Figure

from stmbench.analyses.detection.figures.drawings import examples_figure
from stmbench.analyses.detection.figures.plots import detection_figures
from stmbench.analyses.registry import View


def figures(view: View) -> dict[str, Figure]:
    """Name -> figure; none where the rows hold nothing to draw."""
    drawn = examples_figure(view.rows, view.folder)
    plotted = detection_figures(view.rows)
    return plotted if drawn is None else {**plotted, "detection_examples": drawn}
