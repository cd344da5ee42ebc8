"""Figures of the similarity analysis, from rows and the matrices beside them.

matrices    CKA between the layers of a model, between those of two models, between models
depth       effective rank and uniformity by depth
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from stmbench.analyses.registry import View
from stmbench.analyses.similarity.figures.depth import by_depth, lines_of_depth
from stmbench.analyses.similarity.figures.matrices import layer_matrices, model_groups, model_matrix, read_panels
from stmbench.analyses.similarity.options import FIRST_TO_LAST, NAME, POOLED


def figures(view: View) -> dict[str, Figure]:
    """Name -> figure; none where the rows hold nothing to draw."""
    return similarity_figures(view.rows, view.folder)


def similarity_figures(frame: pd.DataFrame, folder: Path) -> dict[str, Figure]:
    """Name -> figure, for the rows of analysis 'similarity'; those without rows or matrices are left out.

    Args:
        folder: of the store, where the matrices are.
    """
    chosen = frame[(frame["analysis"] == NAME) & frame["value"].notna()]
    chosen.attrs = frame.attrs
    drawn = {}
    if panels := read_panels(chosen, folder, FIRST_TO_LAST):
        drawn["similarity_layers"] = layer_matrices(panels)
    if panels := read_panels(chosen, folder, POOLED):
        drawn["similarity_pairs"] = layer_matrices(panels)
    for number, group in enumerate(model_groups(chosen)):
        drawn[f"similarity_models{f'_{number + 1}' if number else ''}"] = model_matrix(group)
    if lines := lines_of_depth(chosen):
        drawn["similarity_depth"] = by_depth(lines)
    return drawn
