"""Figures of a profile, by name.

speed         throughput, ranks, latency
against_macs  efficiency, roofline
parts         where the time goes
scaling       several sizes, and how stable the order is
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pandas as pd
from matplotlib.figure import Figure

from stmbench.analyses.profile.figures.against_macs import efficiency, roofline
from stmbench.analyses.profile.figures.parts import parts
from stmbench.analyses.profile.figures.scaling import scaling, stability
from stmbench.analyses.profile.figures.speed import latency, ranks, throughput
from stmbench.analyses.registry import View
from stmbench.errors import LeftOutError, TableError

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
    return drawn_or_not(frame)[0]


def drawn_or_not(frame: pd.DataFrame) -> tuple[dict[str, Figure], list[str]]:
    """`profile_figures`, and a sentence for each figure that would mislead, or hold one point."""
    chosen = frame[frame["analysis"] == "profile"]
    chosen.attrs = frame.attrs
    drawn, sentences = {}, []
    for name, draw in {**FIGURES, **ACROSS_SETTINGS}.items():
        try:
            drawn[name] = draw(chosen)
        except LeftOutError as error:
            sentences.append(error.sentence)
        except TableError:
            continue  # --no-timing leaves no throughput: nothing to draw is no fault here
    return drawn, sentences


def figures(view: View) -> dict[str, Figure]:
    """Name -> figure; none where the rows hold nothing to draw."""
    return profile_figures(view.rows)
