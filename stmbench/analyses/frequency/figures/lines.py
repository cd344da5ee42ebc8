"""Amplitudes by depth and accuracy by band of noise, drawn from rows; and all figures of the analysis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle

from stmbench.analyses.frequency.figures.points import Place, conditions_of, points_of, right_or_same
from stmbench.analyses.frequency.options import (
    ACCURACY,
    AMPLITUDE,
    BAND,
    CLEAN,
)
from stmbench.figures.annotations import mark, mark_legend
from stmbench.figures.plot_data import Point
from stmbench.figures.style import GRID, INK, MUTED, canvas, heading, shorten
from stmbench.tables.labels import number

Stroke = Literal["-", "--", ":", "-."]
STROKES: Final[tuple[Stroke, ...]] = ("-", "--", ":", "-.")
CLEAN_AT: Final = -0.1  # on the axis of frequencies


def by_depth(amplitudes: Mapping[str, list[Place]], changes: Mapping[str, list[Place]]) -> Figure:
    """The amplitude after each block, and what each mixer does to it (where mixers are known), a line for each model.

    Bands are 95 % intervals. Below 0 high frequencies are weaker than the mean; a mixer below 0 is low-pass.
    """
    panels = [(amplitudes, "after each block", "relative log amplitude")]
    if changes:
        panels.append((changes, "mixer's output minus its input", "change of relative log amplitude"))
    width = 1.9 + 3.6 * len(panels) + 0.07 * max(len(shorten(label)) for label in amplitudes)
    with canvas(3.7, width=width, columns=len(panels), sharey=False) as (figure, axes):
        for one, (lines, title, words) in zip(axes, panels, strict=True):
            _depth_panel(one, lines, words)
            one.set_xlabel(title, fontweight="bold", color=MUTED)
        _finish(figure, axes, [places[0].point for places in amplitudes.values()], "Frequencies by depth")
    return figure


def _depth_panel(axes: Axes, lines: Mapping[str, list[Place]], words: str) -> None:
    stages = max(place.stage for places in lines.values() for place in places) + 1
    strokes = strokes_of([places[0].point for places in lines.values()])
    for (label, places), stroke in zip(lines.items(), strokes, strict=True):
        blocks = [1 + max(place.block for place in places if place.stage == stage) for stage, _, _ in places]
        x = [stage + (block + 0.5) / count for (stage, block, _), count in zip(places, blocks, strict=True)]
        _line(axes, x, [place.point for place in places], label, stroke, metric=AMPLITUDE)
    axes.axhline(0, color=INK, linewidth=0.8, zorder=1)
    for edge in range(1, stages):
        axes.axvline(edge, color=GRID, linewidth=1, zorder=0)
    names = [f"stage {stage + 1}" if stages < 6 else str(stage + 1) for stage in range(stages)]
    axes.set_xticks([stage + 0.5 for stage in range(stages)], names)
    axes.set_xlim(0, stages)
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel(words)
    axes.grid(axis="y")


def strokes_of(firsts: Sequence[Point]) -> list[Stroke]:
    """Another stroke for each model that shares its colour and marker with an earlier one: other weights, say."""
    looks = [point.style for point in firsts]
    return [STROKES[looks[:place].count(look) % len(STROKES)] for place, look in enumerate(looks)]


def _line(
    axes: Axes, x: Sequence[float], line: Sequence[Point], label: str, stroke: Stroke, *, metric: str, factor: float = 1
) -> None:
    """Values over x with the band of their intervals."""
    colour, marker = line[0].style
    value, low, high = (
        factor * np.array([getattr(point, name) for point in line]) for name in ("value", "low", "high")
    )
    band = axes.fill_between(x, low, high, color=colour, alpha=0.14, linewidth=0, zorder=2)
    curve = axes.plot(x, value, color=colour, marker=MarkerStyle(marker), markersize=4.5, linewidth=1.3, zorder=3,
                      label=label, linestyle=stroke, markerfacecolor=colour if stroke == "-" else "white")  # fmt: skip
    mark([band, *curve], line[0].key, f"{label}: {', '.join(number(point.value, metric) for point in line)}")


def _finish(figure: Figure, axes: Sequence[Axes], firsts: Sequence[Point], title: str) -> None:
    """Title, conditions, and the legend beside the panels; models with random weights are named so."""
    untrained = all(point.is_untrained for point in firsts)
    handles, labels = axes[0].get_legend_handles_labels()
    names = [shorten(label) + (" (random init)" if point.is_untrained and not untrained else "")
             for label, point in zip(labels, firsts, strict=True)]  # fmt: skip
    legend = figure.legend(handles, names, loc="outside right upper", fontsize=8)
    mark_legend(legend, [point.key for point in firsts])
    heading(axes[0], title, conditions_of(firsts, untrained))
    for text in (text for one in axes for text in one.texts):
        text.set_in_layout(False)  # else a long text takes its width from the panels


def by_band(frame: pd.DataFrame) -> dict[str, list[Point]]:
    """Label of a model -> its answers under noise of each band, ascending, after those without noise if they count."""
    metric, found = right_or_same(frame)
    clean = points_of(frame, metric, CLEAN)
    lines: dict[str, list[Point]] = {point.label: [] for point in found}
    for point in [*clean, *sorted(found, key=lambda point: point.level)]:
        if point.label in lines:
            lines[point.label].append(point)
    return lines


def accuracy_by_band(lines: Mapping[str, list[Point]]) -> Figure:
    """The share of images over the frequency of the noise, with 95 % intervals; on the left that without noise."""
    accuracy = any(point.condition == CLEAN for line in lines.values() for point in line)
    width = 5.6 + 0.07 * max(len(shorten(label)) for label in lines)
    with canvas(3.5, width=width) as (figure, axes):
        strokes = strokes_of([line[0] for line in lines.values()])
        for (label, line), stroke in zip(lines.items(), strokes, strict=True):
            noisy = [point for point in line if point.condition == BAND]
            levels = [point.level for point in noisy]
            _line(axes[0], levels, noisy, label, stroke, metric=ACCURACY, factor=100)
            for point in line[: len(line) - len(noisy)]:
                dot = axes[0].plot(CLEAN_AT, 100 * point.value, marker=MarkerStyle(point.style.marker), markersize=4.5,
                                   color=point.style.colour, linestyle="none", zorder=4,
                                   markerfacecolor=point.style.colour if stroke == "-" else "white")  # fmt: skip
                mark(dot, point.key, f"{label}: {number(point.value, ACCURACY)} % without noise")
        axes[0].set_xlim(1.6 * CLEAN_AT if accuracy else 0, 1)
        axes[0].set_ylim(0, 104)
        ticks = [0.0, 0.25, 0.5, 0.75, 1.0]
        texts = ["0", "0.25π", "0.5π", "0.75π", "π"]
        axes[0].set_xticks([CLEAN_AT, *ticks] if accuracy else ticks, ["clean", *texts] if accuracy else texts)
        axes[0].set_xlabel("radial frequency of the noise")
        axes[0].set_ylabel("top-1 accuracy, %" if accuracy else "predictions as without noise, %")
        axes[0].grid(axis="y")
        _finish(figure, axes, [line[0] for line in lines.values()], "Noise of one band of frequencies")
    return figure
