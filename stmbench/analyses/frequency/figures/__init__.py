"""Figures of the frequency analysis, from rows and the arrays beside them.

points      points of models and blocks, labelled alike in all figures and tables
plots       amplitudes by depth, accuracy by band of noise, Fourier heat maps
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from stmbench.analyses.frequency.figures.plots import accuracy_by_band, by_band, by_depth, heat_maps, read_heat_maps
from stmbench.analyses.frequency.figures.points import by_place
from stmbench.analyses.frequency.options import AMPLITUDE, BLOCK, CHANGE, MIXER, NAME
from stmbench.analyses.registry import View


def figures(view: View) -> dict[str, Figure]:
    """Name -> figure; none where the rows hold nothing to draw."""
    return frequency_figures(view.rows, view.folder)


def frequency_figures(frame: pd.DataFrame, folder: Path) -> dict[str, Figure]:
    """Name -> figure, for the rows of analysis 'frequency'; those without rows are left out.

    Args:
        folder: of the store, where the heat maps are.
    """
    chosen = frame[(frame["analysis"] == NAME) & frame["value"].notna()]
    chosen.attrs = frame.attrs
    drawn = {}
    if amplitudes := by_place(chosen, AMPLITUDE, BLOCK):
        drawn["frequency_depth"] = by_depth(amplitudes, by_place(chosen, CHANGE, MIXER))
    if maps := read_heat_maps(chosen, folder):
        drawn["frequency_heat_maps"] = heat_maps(maps)
    if bands := by_band(chosen):
        drawn["frequency_bands"] = accuracy_by_band(bands)
    return drawn
