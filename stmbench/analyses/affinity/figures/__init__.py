"""Figures of affinities, by name.

depth    distance, locality and mixture by depth
maps     heat maps of chosen rows
rows     maps read from files
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from stmbench.analyses.affinity.figures.depth import distance_by_depth, locality_by_depth, mixture_by_depth
from stmbench.analyses.affinity.figures.maps import compared, maps_of
from stmbench.analyses.affinity.figures.rows import of_size, read_maps
from stmbench.analyses.registry import View
from stmbench.errors import TableError
from stmbench.figures.plot_data import labels

UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


def affinity_figures(frame: pd.DataFrame, *, folder: Path) -> dict[str, Figure]:
    """Name -> figure, for the rows of analysis 'affinity'; `folder` is the store's, where the maps lie."""
    return drawn_or_not(frame, folder=folder)[0]


def drawn_or_not(frame: pd.DataFrame, *, folder: Path, each: bool = True) -> tuple[dict[str, Figure], list[str]]:
    """`affinity_figures`, and a sentence on the maps that are too small to be drawn.

    Args:
        each: draw the maps of every model apart, too, where there are several.
    """
    chosen = frame[frame["analysis"] == "affinity"]
    chosen.attrs = frame.attrs
    drawn: dict[str, Figure] = {}
    for name, draw in (("attention_distance", distance_by_depth), ("locality", locality_by_depth),
                       ("mixture", mixture_by_depth)):  # fmt: skip
        try:
            drawn[name] = draw(chosen)
        except TableError:
            continue  # a Jacobian of few layers has no depth
    models, small = of_size(read_maps(chosen, folder))
    if len(models) > 1:
        drawn["maps"] = compared(models)
    names = labels(chosen)
    for model in models if each or len(models) == 1 else ():
        drawn[f"maps_{UNFIT.sub('_', names[model.name])}"] = maps_of(model)
    sizes = " and ".join(f"{height}×{width}" for height, width in small)
    return drawn, [f"Affinity maps of {sizes} tokens are left out: they have no place to look at."] if small else []


def figures(view: View) -> dict[str, Figure]:
    """Name -> figure; none where the rows hold nothing to draw."""
    return affinity_figures(view.rows, folder=view.folder)
