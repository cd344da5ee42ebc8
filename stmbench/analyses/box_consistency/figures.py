"""Box consistency against the level, with that of resized pixels; box AP; how much of the input is padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stmbench.analyses.registry import View
from stmbench.figures.annotations import mark
from stmbench.figures.curves import (
    End,
    draw_line,
    join_trainings,
    lines_of,
    name_ends,
    number_locator,
    set_share_axis,
    share_limits,
    words_of,
)
from stmbench.figures.differences import differences, draw_differences
from stmbench.figures.plot_data import Point, points_of
from stmbench.figures.style import INK, MUTED, WIDTH, canvas, letters, shorten

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
    every = [point for found in panels.values() for point in found]
    names = {point.label: shorten(point.label) for point in every}
    room = 0.4 + 0.07 * max(map(letters, names.values()))
    width = max(WIDTH, 0.6 + room + 2.5 * len(panels), 0.075 * len(words))
    with canvas(3.3, width=width, columns=len(panels)) as (figure, axes_of):
        for axes, (metric, found) in zip(axes_of, panels.items(), strict=True):
            if metric == "box_consistency":
                _draw_floor(axes, floor)
            for line in lines_of(found).values():
                line.sort(key=lambda point: point.level)
                values = ", ".join(f"{point.level:g}: {100 * point.value:.1f}" for point in line)
                mark(draw_line(axes, line), line[0].model, f"{line[0].label}: {PANELS[metric]} in % at {values}")
            axes.set_xlabel(ACROSS[kind])
            axes.xaxis.set_major_locator(number_locator(point.level for point in found))
            axes.grid(axis="y")
            axes.set_title(PANELS[metric], fontsize=9, loc="left", color=INK, pad=4)
        ends = [100 * end for point in (*every, *floor) for end in (point.value, point.low, point.high)]
        set_share_axis(axes_of[0], *share_limits(ends), ends=(0, 100))
        axes_of[0].set_ylabel("%")
        figure.suptitle(f"Box consistency: {kind}", x=0.01, ha="left", fontsize=11, fontweight="bold")
        figure.supxlabel(words, fontsize=9, color=MUTED)
        last = lines_of(list(panels.values())[-1])
        name_ends(figure, axes_of[-1], [
            End(line[-1].level, 100 * line[-1].value, names[label], line[-1].model, line[-1].style)
            for label, line in sorted(last.items(), key=lambda item: list(names).index(item[0]))
        ])  # fmt: skip
    return figure


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
