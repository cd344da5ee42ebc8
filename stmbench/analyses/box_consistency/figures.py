"""Box consistency against the level, with that of resized pixels; box AP; how much of the input is padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stmbench.analyses.registry import View
from stmbench.figures.annotations import mark
from stmbench.figures.curves import draw_levels, join_trainings, lines_of, words_of
from stmbench.figures.differences import differences, draw_differences
from stmbench.figures.plot_data import Point, points_of
from stmbench.figures.style import MUTED, shorten

PREFIX: Final = "box_consistency_"
PANELS: Final = {"box_consistency": "box consistency", "box_ap": "box AP", "padding_share": "padding of the input"}
FLOOR: Final = "box_consistency_floor"
ACROSS: Final = {"translation": "shift, px", "rotation": "angle, degrees", "scale": "scale"}


def box_figures(frame: pd.DataFrame) -> dict[str, Figure]:
    """Name -> figure for each kind: the differences to a control, then the curves; none of a single level."""
    drawn: dict[str, Figure] = {}
    chosen = frame[frame["analysis"].str.startswith(PREFIX) & (frame["kind"] == "summary") & frame["value"].notna()]
    for (analysis, definition), rows in chosen.groupby(["analysis", "definition"], sort=False):
        rows.attrs = frame.attrs
        if rows.loc[rows["metric"] == "box_consistency", "level"].nunique() < 2:
            continue
        kind = str(analysis).removeprefix(PREFIX)
        panels = {name: found for name in PANELS if (found := join_trainings(points_of(rows, name)))}
        found = panels["box_consistency"]
        words = " · ".join([words_of(rows, str(definition), found), *dict.fromkeys(p.condition or "" for p in found)])
        if (pairs := differences(rows, "box_consistency")) is not None:
            drawn[f"{analysis}_differences"] = draw_differences(
                {PANELS["box_consistency"]: pairs.points},
                pairs.control.name,
                title=f"Box consistency: {kind}",
                words=words,
                xlabel=ACROSS[kind],
            )
        drawn[str(analysis)] = curves(panels, join_trainings(points_of(rows, FLOOR)), kind, words)
    return drawn


def curves(panels: Mapping[str, Sequence[Point]], floor: Sequence[Point], kind: str, words: str) -> Figure:
    """A panel for each metric, 95 % intervals as bands; the floor dashed and grey behind consistency."""
    names = {point.label: shorten(point.label) for found in panels.values() for point in found}
    return draw_levels(
        panels,
        PANELS,
        names,
        title=f"Box consistency: {kind}",
        across=ACROSS[kind],
        up="%",
        words=words,
        behind=floor,
        draw_behind=_draw_floor,
    )


def _draw_floor(axes: Axes, floor: Sequence[Point]) -> None:
    for label, line in lines_of(floor).items():
        line.sort(key=lambda point: point.level)
        values = [100 * point.value for point in line]
        drawn = axes.plot([point.level for point in line], values, color=MUTED, linestyle="--", linewidth=1, zorder=1)
        said = ", ".join(f"{point.level:g}: {value:.1f}" for point, value in zip(line, values, strict=True))
        mark(drawn, line[0].model, f"{label}: resized pixels in % at {said}")


def figures(view: View) -> dict[str, Figure]:
    """Name -> figure; none where the rows hold nothing to draw."""
    return box_figures(view.rows)
