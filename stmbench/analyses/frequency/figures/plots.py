"""Amplitudes by depth and accuracy by band of noise, from rows; Fourier heat maps, from the arrays that rows name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.markers import MarkerStyle
from numpy.typing import NDArray

from stmbench.analyses.frequency.figures.points import right_or_same, wrong_or_changed
from stmbench.analyses.frequency.options import (
    ACCURACY,
    AMPLITUDE,
    BAND,
    CLEAN,
    ERROR,
)
from stmbench.figures.annotations import mark, mark_legend
from stmbench.figures.palette import Stroke, strokes_of
from stmbench.figures.places import WHO, Place, conditions_of, points_of
from stmbench.figures.plot_data import Point
from stmbench.figures.style import GRID, INK, MUTED, STYLE, canvas, heading, letters, shorten
from stmbench.tables.files import read_arrays
from stmbench.tables.rows import number

CLEAN_AT: Final = -0.1  # on the axis of frequencies


def by_depth(amplitudes: Mapping[str, list[Place]], changes: Mapping[str, list[Place]]) -> Figure:
    """The amplitude after each block, and what each mixer does to it (where mixers are known), a line for each model.

    Bands are 95 % intervals. Below 0 high frequencies are weaker than the mean; a mixer below 0 is low-pass.
    """
    panels = [(amplitudes, "after each block", "relative log amplitude")]
    if changes:
        panels.append((changes, "mixer's output minus its input", "change of relative log amplitude"))
    width = 1.9 + 3.6 * len(panels) + 0.07 * max(map(letters, amplitudes))
    with canvas(3.7, width=width, columns=len(panels), sharey=False) as (figure, axes):
        for one, (lines, title, words) in zip(axes, panels, strict=True):
            _depth_panel(one, lines, words)
            one.set_xlabel(title, fontweight="bold", color=MUTED)
        _finish(figure, axes, [places[0].point for places in amplitudes.values()], "Frequencies by depth")
    return figure


def _depth_panel(axes: Axes, lines: Mapping[str, list[Place]], words: str) -> None:
    stages = max(place.stage for places in lines.values() for place in places) + 1
    strokes = strokes_of([places[0].point.style for places in lines.values()])
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


def _line(
    axes: Axes, x: Sequence[float], line: Sequence[Point], label: str, stroke: Stroke, *, metric: str, factor: float = 1
) -> None:
    """Values over x with the band of their intervals."""
    colour, marker, own = line[0].style
    value, low, high = (
        factor * np.array([getattr(point, name) for point in line]) for name in ("value", "low", "high")
    )
    band = axes.fill_between(x, low, high, color=colour, alpha=0.14, linewidth=0, zorder=2)
    curve = axes.plot(x, value, color=colour, marker=MarkerStyle(marker), markersize=4.5, linewidth=1.3, zorder=3,
                      label=label, linestyle=stroke, markerfacecolor=colour if stroke == own else "white")  # fmt: skip
    mark([band, *curve], line[0].model, f"{label}: {', '.join(number(point.value, metric) for point in line)}")


def _finish(figure: Figure, axes: Sequence[Axes], firsts: Sequence[Point], title: str) -> None:
    """Title, conditions, and the legend beside the panels; models with random weights are named so."""
    untrained = all(point.is_untrained for point in firsts)
    handles, labels = axes[0].get_legend_handles_labels()
    names = [shorten(label) + (" (random init)" if point.is_untrained and not untrained else "")
             for label, point in zip(labels, firsts, strict=True)]  # fmt: skip
    legend = figure.legend(handles, names, loc="outside right upper", fontsize=8)
    mark_legend(legend, [point.model for point in firsts])
    heading(axes[0], title, conditions_of(firsts, untrained))
    for text in (text for one in axes for text in one.texts):
        text.set_in_layout(False)  # else a long text takes its width from the panels


def by_band(frame: pd.DataFrame) -> dict[str, list[Point]]:
    """Label of a model -> its answers under noise of each band, ascending, after those without noise if they count."""
    metric, answers = right_or_same(frame)
    clean = points_of(frame, metric, CLEAN)
    lines: dict[str, list[Point]] = {point.label: [] for point in answers}
    for point in [*clean, *sorted(answers, key=lambda point: point.level)]:
        if point.label in lines:
            lines[point.label].append(point)
    return lines


def accuracy_by_band(lines: Mapping[str, list[Point]]) -> Figure:
    """The share of images over the frequency of the noise, with 95 % intervals; on the left that without noise."""
    accuracy = any(point.condition == CLEAN for line in lines.values() for point in line)
    width = 5.6 + 0.07 * max(map(letters, lines))
    with canvas(3.5, width=width) as (figure, axes):
        strokes = strokes_of([line[0].style for line in lines.values()])
        for (label, line), stroke in zip(lines.items(), strokes, strict=True):
            noisy = [point for point in line if point.condition == BAND]
            levels = [point.level for point in noisy]
            _line(axes[0], levels, noisy, label, stroke, metric=ACCURACY, factor=100)
            inside = line[0].style.colour if stroke == line[0].style.stroke else "white"
            for point in line[: len(line) - len(noisy)]:
                dot = axes[0].plot(CLEAN_AT, 100 * point.value, marker=MarkerStyle(point.style.marker), markersize=4.5,
                                   color=point.style.colour, linestyle="none", zorder=4,
                                   markerfacecolor=inside)  # fmt: skip
                mark(dot, point.model, f"{label}: {number(point.value, ACCURACY)} % without noise")
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


Floats = NDArray[np.float64]
HEAT: Final = "viridis"
SIDE: Final = 1.55  # inches of a panel
GAP: Final = 0.22
ABREAST: Final = 4  # panels in a row
LONGEST: Final = 24  # characters over a panel


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class HeatMap:
    """A model's (R, S) shares under noise of each frequency; `reach` is the highest (vertical, horizontal) one."""

    point: Point
    metric: str
    shares: Floats
    reach: tuple[int, int]
    norm: float


def read_heat_maps(frame: pd.DataFrame, folder: Path) -> list[HeatMap]:
    """The maps of wrong answers; of changed answers where no trained model has labels. Lost files are left out.

    Of a model that was trained several times the map of the first training, as it is that of one network each.
    """
    metric, answers = wrong_or_changed(frame)
    first: dict[tuple[Any, ...], Point] = {}
    for point in sorted(answers, key=lambda point: str(point.facts["weights"])):
        first.setdefault((point.model, *(point.facts[name] for name in WHO[2:]), point.is_untrained), point)
    answers = [point for point in answers if any(point is one for one in first.values())]
    rows = frame[(frame["metric"] == metric) & (frame["kind"] == "summary")].sort_values("created_utc", kind="stable")
    maps = []
    for point in answers:
        same = rows[(rows["model"] == point.model) & (rows["weights"] == point.facts["weights"])]
        for name in WHO[2:]:
            same = same[same[name] == point.facts[name]]
        arrays = read_arrays(folder / str(same["artifact"].iloc[-1])) if len(same) else {}
        if metric in arrays:
            reach = (int(arrays["rows"].max()), int(arrays["columns"].max()))
            norm, shares = float(arrays["norm"]), np.asarray(arrays[metric], dtype=np.float64)
            maps.append(HeatMap(point=point, metric=metric, shares=shares, reach=reach, norm=norm))
    return maps


def heat_maps(maps: Sequence[HeatMap]) -> Figure:
    """A panel for each model, frequency 0 in the middle, on one scale of colours; below each its mean."""
    columns = min(ABREAST, len(maps))
    rows = -(-len(maps) // columns)
    untrained = all(item.point.is_untrained for item in maps)
    error = maps[0].metric == ERROR
    title = "Fourier heat map"
    said = conditions_of([item.point for item in maps], untrained)
    what = "wrong predictions" if error else "changed predictions"
    norms = sorted({round(item.norm, 2) for item in maps})
    of_norm = "/".join(f"{norm:g}" for norm in norms)
    note = f"{what} under noise of one frequency (cycles per image), l2 norm {of_norm} per channel"
    highest = 100 * max(float(item.shares.max()) for item in maps)
    end = next((end for end in (5, 10, 20, 50) if highest <= end), 100)
    top, bottom, below = 0.87, 0.1, 0.66
    width = max(0.5 + columns * (SIDE + GAP) + 0.75, 0.066 * len(said) + 0.2, 0.056 * len(note) + 0.2)
    height = top + rows * (SIDE + below) + bottom
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        for place, item in enumerate(maps):
            row, column = divmod(place, columns)
            x, y = 0.5 + column * (SIDE + GAP), height - top - row * (SIDE + below) - SIDE
            axes = figure.add_axes((x / width, y / height, SIDE / width, SIDE / height))
            tag = " · random init" if item.point.is_untrained and not untrained else ""
            image = _panel(axes, item, end, tag=tag, first=column == 0)
        x = 0.5 + columns * (SIDE + GAP)
        bar = figure.add_axes((x / width, (height - top - SIDE) / height, 0.1 / width, SIDE / height))
        figure.colorbar(image, cax=bar).outline.set_visible(False)
        bar.set_yticks([0, end / 2, end], [f"{tick:g} %" for tick in (0, end / 2, end)], fontsize=7.5)
        bar.tick_params(length=0)
        figure.text(0.1 / width, 1 - 0.1 / height, title, fontsize=11, fontweight="bold", va="top")
        figure.text(0.1 / width, 1 - 0.36 / height, said, fontsize=8.5, color=MUTED, va="top")
        figure.text(0.1 / width, 0.1 / height, note, fontsize=7, color=MUTED, va="bottom")
    return figure


def _fitted(text: str) -> str:
    """A name, or a setting, that is no wider than a panel."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}…{text[-LONGEST // 2 + 1 :]}"


def _panel(axes: Axes, item: HeatMap, end: float, *, tag: str, first: bool) -> AxesImage:
    value = number(item.point.value, ACCURACY)
    mark(axes, item.point.model, f"{item.point.label}: {number(item.point.value, item.metric)} mean over the map")
    image = axes.imshow(100 * item.shares, cmap=HEAT, vmin=0, vmax=end, interpolation="nearest", aspect="auto",
                        extent=(-1, 1, 1, -1))  # fmt: skip
    (up, right) = item.reach
    axes.set_xticks([-0.97, 0, 0.97], [f"−{right}", "0", f"{right}"], fontsize=7)
    axes.set_yticks([-0.93, 0, 0.93] if first else [], [f"−{up}", "0", f"{up}"] if first else [], fontsize=7)
    axes.tick_params(length=0, pad=2)
    for spine in axes.spines.values():
        spine.set_visible(False)
    lines = [item.point.name, *([item.point.setting] if item.point.setting else [])]
    axes.set_title("\n".join(map(_fitted, lines)), fontsize=8.5 if len(lines) == 1 else 7.5, pad=4)
    axes.set_xlabel(f"mean {value} %{tag}", fontsize=8, labelpad=1)
    return image
