"""Figures of the frequency analysis, from rows and the arrays beside them.

points      answers: right and wrong, or the same and changed
plots       amplitudes by depth, accuracy by band of noise, Fourier heat maps
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pandas as pd
from matplotlib.figure import Figure

from stmbench.analyses.frequency.figures.plots import accuracy_by_band, by_band, by_depth, heat_maps, read_heat_maps
from stmbench.analyses.frequency.options import AMPLITUDE, BAND, BLOCK, CHANGE, MIXER, NAME
from stmbench.analyses.registry import View
from stmbench.figures.places import by_place

SMALLEST: Final = 2  # frequencies a side, up to which a map is none


def figures(view: View) -> dict[str, Figure]:
    """Name -> figure; none where the rows hold nothing to draw."""
    return frequency_figures(view.rows, view.folder)


def frequency_figures(frame: pd.DataFrame, folder: Path) -> dict[str, Figure]:
    """Name -> figure, for the rows of analysis 'frequency'; those without rows, or with one point, are left out.

    Args:
        folder: of the store, where the heat maps are.
    """
    return drawn_or_not(frame, folder)[0]


def drawn_or_not(frame: pd.DataFrame, folder: Path) -> tuple[dict[str, Figure], list[str]]:
    """`frequency_figures`, and a line for each figure whose curves would be points, or whose maps hold nearly none."""
    chosen = frame[(frame["analysis"] == NAME) & frame["value"].notna()]
    chosen.attrs = frame.attrs
    drawn, lines = {}, []
    if amplitudes := by_place(chosen, AMPLITUDE, BLOCK):
        if max(map(len, amplitudes.values())) > 1:
            drawn["frequency_depth"] = by_depth(amplitudes, by_place(chosen, CHANGE, MIXER))
        else:
            lines.append("No figure of frequencies by depth: one block is one point; the table has its value.")
    if maps := read_heat_maps(chosen, folder):
        if large := [item for item in maps if max(item.shares.shape) > SMALLEST]:
            drawn["frequency_heat_maps"] = heat_maps(large)
        else:
            size = "×".join(map(str, maps[0].shares.shape))
            lines.append(f"No figure of Fourier heat maps: {size} frequencies are no map; the table has their mean.")
    if bands := by_band(chosen):
        if max(sum(point.condition == BAND for point in line) for line in bands.values()) > 1:
            drawn["frequency_bands"] = accuracy_by_band(bands)
        else:
            lines.append("No figure of noise by band: one band is one point; the table has its value.")
    return drawn, lines
