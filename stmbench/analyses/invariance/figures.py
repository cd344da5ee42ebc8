"""Consistency and accuracy against the level of a perturbation (Hu et al., Fig. 7), and differences to a control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import pandas as pd
from matplotlib.figure import Figure

from stmbench.analyses.registry import View
from stmbench.figures.curves import draw_levels, join_trainings, words_of
from stmbench.figures.differences import differences, draw_differences
from stmbench.figures.plot_data import Point, points_of
from stmbench.figures.style import shorten

PREFIX: Final = "invariance_"
PANELS: Final = {
    "consistency": "consistency",
    "consistency_on_correct": "consistency where right",
    "accuracy": "top-1 accuracy",
}
ACROSS: Final = {"translation": "shift, px", "rotation": "angle, degrees", "scale": "crop ratio"}


def invariance_figures(frame: pd.DataFrame) -> dict[str, Figure]:
    """Name -> figure, for each kind of perturbation and definition in the table.

    First the differences to the control, where the table has them; then the curves. A definition of which only one
    level was measured has none.
    """
    drawn: dict[str, Figure] = {}
    for (analysis, definition), rows in _groups(frame):
        if not is_curve(rows):
            continue
        kind, name = analysis.removeprefix(PREFIX), f"{analysis}_{definition.replace('.', '_')}"
        panels = {metric: found for metric in PANELS if (found := join_trainings(points_of(rows, metric)))}
        words = words_of(rows, definition, next(iter(panels.values())))
        compared = {metric: pairs for metric in PANELS if (pairs := differences(rows, metric)) is not None}
        if compared:
            control = next(iter(compared.values())).control
            drawn[f"{name}_differences"] = draw_differences(
                {PANELS[metric]: pairs.points for metric, pairs in compared.items()},
                control.name,
                title=f"Invariance: {kind}",
                words=words,
                xlabel=ACROSS[kind],
            )
        drawn[name] = curves(panels, kind, words)
    return drawn


def left_out(frame: pd.DataFrame) -> list[str]:
    """A line on each figure that would hold one level."""
    return [
        f"No figure of {definition}: of {rows['level'].nunique()} level there is no curve; add others with --levels."
        for (_, definition), rows in _groups(frame)
        if not is_curve(rows)
    ]


def is_curve(rows: pd.DataFrame) -> bool:
    """Whether there is a second level: the untransformed image alone is no curve."""
    return bool(rows.loc[rows["metric"] == "consistency", "level"].nunique() > 1)


def _groups(frame: pd.DataFrame) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    chosen = frame[frame["analysis"].str.startswith(PREFIX) & (frame["kind"] == "summary") & frame["value"].notna()]
    groups = [
        ((str(key[0]), str(key[1])), rows) for key, rows in chosen.groupby(["analysis", "definition"], sort=False)
    ]
    for _, rows in groups:
        rows.attrs = frame.attrs
    return groups


def curves(panels: Mapping[str, Sequence[Point]], kind: str, words: str) -> Figure:
    """A panel for each metric, a line for each model, 95 % intervals as bands; names at the ends of the last panel's.

    Args:
        panels: metric -> points, not empty.
    """
    every = [point for found in panels.values() for point in found]
    untrained = all(point.is_untrained for point in every)
    names = {point.label: shorten(point.label) + _doubt(point, untrained=untrained) for point in every}
    return draw_levels(
        panels, PANELS, names, title=f"Invariance: {kind}", across=ACROSS[kind], up="share of images, %", words=words
    )


def _doubt(point: Point, *, untrained: bool) -> str:
    return " (random init)" if point.is_untrained and not untrained and "random init" not in point.setting else ""


def figures(view: View) -> dict[str, Figure]:
    """Name -> figure; none where the rows hold nothing to draw."""
    return invariance_figures(view.rows)
