"""Every analysis with its table for a terminal and its figures, for whoever shows a store with several of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import pandas as pd
from matplotlib.figure import Figure
from rich.console import RenderableType

from stmbench.errors import TableError
from stmbench.figures import profile_figures
from stmbench.figures.affinity.figures import affinity_figures
from stmbench.figures.erf.figures import erf_figures
from stmbench.figures.evaluation import evaluation_figures
from stmbench.figures.invariance import invariance_figures
from stmbench.figures.robustness import robustness_figures
from stmbench.figures.training import training_figures
from stmbench.reporting.terminal.affinity import affinity_table
from stmbench.reporting.terminal.erf import erf_table
from stmbench.reporting.terminal.evaluation import evaluation_table
from stmbench.reporting.terminal.invariance import invariance_table
from stmbench.reporting.terminal.profile import profile_table
from stmbench.reporting.terminal.robustness import robustness_table
from stmbench.reporting.terminal.training import training_table

ERF: Final = "stmbench.magnitude.linear.v1"  # the definition of receptive fields that is shown
Tabulate = Callable[[pd.DataFrame], RenderableType]
TABLES: Final[Mapping[str, Tabulate]] = {
    "train": training_table,
    "eval": evaluation_table,
    "profile": profile_table,
    "erf": lambda frame: erf_table(frame, ERF),
    "invariance_translation": invariance_table,
    "invariance_rotation": invariance_table,
    "invariance_scale": invariance_table,
    "robustness": robustness_table,
    "affinity": affinity_table,
}


def tables(frame: pd.DataFrame) -> Iterator[tuple[str, RenderableType]]:
    """(analysis, table) of each analysis that the frame has results of."""
    for analysis, tabulate in TABLES.items():
        rows = frame[frame["analysis"] == analysis]
        rows.attrs = frame.attrs
        try:
            yield analysis, tabulate(rows)
        except TableError:
            continue  # only failures, or nothing at all


def figures(frame: pd.DataFrame, folder: Path) -> dict[str, Figure]:
    """Name -> figure, of every analysis in the frame. `folder` is the store's, where maps are."""
    found = training_figures(frame) | evaluation_figures(frame) | invariance_figures(frame) | robustness_figures(frame)
    for analysis, draw in (
        ("profile", profile_figures),
        ("erf", lambda rows: erf_figures(rows, ERF, folder, beside=frame)),
        ("affinity", lambda rows: affinity_figures(rows, folder=folder)),
    ):
        rows = frame[(frame["analysis"] == analysis) & (frame["status"] != "failed") & frame["value"].notna()]
        rows.attrs = frame.attrs
        if len(rows):
            found |= draw(rows)
    return found
