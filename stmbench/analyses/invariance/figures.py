"""Consistency and accuracy against the level of a perturbation (Hu et al., Fig. 7), and differences to a control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import pandas as pd
from matplotlib.figure import Figure

from stmbench.analyses.registry import View
from stmbench.errors import TableError
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
from stmbench.figures.plot_data import Point, points
from stmbench.figures.style import INK, MUTED, WIDTH, canvas, letters, shorten

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
        panels = {metric: found for metric in PANELS if (found := _points(rows, metric))}
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


def _points(rows: pd.DataFrame, metric: str) -> list[Point]:
    try:
        return join_trainings(points(rows, metric))
    except TableError:
        return []


def curves(panels: Mapping[str, Sequence[Point]], kind: str, words: str) -> Figure:
    """A panel for each metric, a line for each model, 95 % intervals as bands; names at the ends of the last panel's.

    Args:
        panels: metric -> points, not empty.
    """
    every = [point for found in panels.values() for point in found]
    untrained = all(point.is_untrained for point in every)
    names = {point.label: shorten(point.label) + _doubt(point, untrained=untrained) for point in every}
    room = 0.4 + 0.07 * max(map(letters, names.values()))
    ends = [100 * end for point in every for end in (point.value, point.low, point.high)]
    width = max(WIDTH, 0.6 + room + 2.5 * len(panels), 0.075 * len(words))
    with canvas(3.3, width=width, columns=len(panels)) as (figure, axes_of):
        for axes, (metric, found) in zip(axes_of, panels.items(), strict=True):
            for line in lines_of(found).values():
                line.sort(key=lambda point: point.level)
                mark(draw_line(axes, line), line[0].model, _said(metric, line))
            axes.set_xlabel(ACROSS[kind])
            axes.xaxis.set_major_locator(number_locator(point.level for point in found))
            axes.grid(axis="y")
            axes.set_title(PANELS[metric], fontsize=9, loc="left", color=INK, pad=4)
        set_share_axis(axes_of[0], *share_limits(ends), ends=(0, 100))
        axes_of[0].set_ylabel("share of images, %")
        figure.suptitle(f"Invariance: {kind}", x=0.01, ha="left", fontsize=11, fontweight="bold")
        figure.supxlabel(words, fontsize=9, color=MUTED)
        last = lines_of(list(panels.values())[-1])
        name_ends(figure, axes_of[-1], [
            End(line[-1].level, 100 * line[-1].value, names[label], line[-1].model, line[-1].style)
            for label, line in sorted(last.items(), key=lambda item: list(names).index(item[0]))
        ])  # fmt: skip
    return figure


def _doubt(point: Point, *, untrained: bool) -> str:
    return " (random init)" if point.is_untrained and not untrained and "random init" not in point.setting else ""


def _said(metric: str, line: Sequence[Point]) -> str:
    """The values of a whole curve, level by level: a line has no single value to say."""
    values = ", ".join(f"{point.level:g}: {100 * point.value:.1f}" for point in line)
    return f"{line[0].label}: {PANELS[metric]} in % at {values}"


def figures(view: View) -> dict[str, Figure]:
    """Name -> figure; none where the rows hold nothing to draw."""
    return invariance_figures(view.rows)
