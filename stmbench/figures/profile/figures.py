"""All figures of a profile, those that its table has the metrics for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pandas as pd
from matplotlib.figure import Figure

from stmbench.errors import TableError
from stmbench.figures.profile.efficiency import efficiency
from stmbench.figures.profile.latency import latency
from stmbench.figures.profile.parts import parts
from stmbench.figures.profile.ranks import ranks
from stmbench.figures.profile.roofline import roofline
from stmbench.figures.profile.scaling import scaling
from stmbench.figures.profile.stability import stability
from stmbench.figures.profile.throughput import throughput

FIGURES: Final[dict[str, Callable[[pd.DataFrame], Figure]]] = {
    "throughput": throughput,
    "ranks": ranks,
    "latency": latency,
    "efficiency": efficiency,
    "roofline": roofline,
    "parts": parts,
}
# of a profile at several sizes, precisions, batch sizes or modes
ACROSS_SETTINGS: Final[dict[str, Callable[[pd.DataFrame], Figure]]] = {"scaling": scaling, "stability": stability}


def profile_figures(frame: pd.DataFrame) -> dict[str, Figure]:
    """Name -> figure, for the rows of analysis 'profile'; a figure whose metric is missing is left out."""
    chosen = frame[frame["analysis"] == "profile"]
    chosen.attrs = frame.attrs
    drawn = {}
    for name, draw in {**FIGURES, **ACROSS_SETTINGS}.items():
        try:
            drawn[name] = draw(chosen)
        except TableError:
            continue  # --no-timing leaves no throughput: nothing to draw is no fault here
    return drawn
