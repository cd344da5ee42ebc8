"""Effective receptive fields: a heat map for each stage of each model, and what else is drawn of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import AbstractPathEffect, withStroke

from stmbench.analyses.erf.figures.maps import ErfMap, erf_rows, read_maps, trainings
from stmbench.analyses.erf.figures.scatter import WORTHS, against
from stmbench.errors import LeftOutError
from stmbench.figures.annotations import mark
from stmbench.figures.panes import Pane, of_pixels, write
from stmbench.figures.style import HEAT, MARK, MUTED, STYLE, WIDTH, letters, shorten

LEAST, MOST = 0.9, 2.4  # inches of a panel's side, which fills the figure's width
ABREAST: Final = 5  # models beyond which two stand side by side
GAP: Final = 0.12
BELOW: Final = 0.2  # inches for the number under a panel
BAR: Final = 0.62  # inches for the colour bar and its numbers
GAMMA: Final = 0.25  # colours follow this power of the map: its tails would be invisible
TICKS: Final = (0.0, 0.001, 0.01, 0.1, 0.4, 1.0)  # of a panel's maximum
CASING: Final[list[AbstractPathEffect]] = [withStroke(linewidth=1.9, foreground="white")]


def erf_figures(
    frame: pd.DataFrame,
    definition: str,
    folder: Path,
    *,
    beside: pd.DataFrame | None = None,
    left_out: list[str] | None = None,
) -> dict[str, Figure]:
    """Name -> figure, for the rows of analysis 'erf'.

    Args:
        definition: which one is drawn.
        folder: of the store, where the maps are.
        beside: a table that may hold the models' accuracy, of the analysis 'eval', or the AP of detectors around them.
        left_out: takes a sentence for each figure that would hold one point.
    """
    maps = read_maps(frame, definition, folder)
    drawn = {"erf": heat_maps(maps, _words(frame, definition))} if maps else {}
    for worth in WORTHS:
        try:
            plotted = against(frame, definition, frame if beside is None else beside, worth)
        except LeftOutError as error:
            plotted = None
            if left_out is not None:
                left_out.append(error.sentence)
        if plotted is not None:
            drawn[worth.figure] = plotted
    return drawn


def heat_maps(maps: Sequence[ErfMap], words: str) -> Figure:
    """A row for each model and a column for each stage, with the square that holds the percentage drawn in.

    Each panel's colours go from zero to its own maximum, on a quarter-power scale. Squares are centred where the unit
    is (or where the definition says), and cut at the image's edge.
    """
    models = list(dict.fromkeys((item.label, item.is_untrained) for item in maps))
    stages = sorted({item.stage for item in maps})
    untrained = all(random for _, random in models)
    shape = max(item.pixels.shape[0] / item.pixels.shape[1] for item in maps)
    label = 0.3 + 0.068 * max(letters(name) for name, _ in models)
    said = words + (" · random init" if untrained else "")
    note = (
        f"colours: quarter power of the map over its maximum; square: ERF@{maps[0].percent:g}; cross: the unit's centre"
    )
    blocks = 2 if len(models) > ABREAST else 1
    depth = -(-len(models) // blocks)
    width = max(WIDTH, blocks * (label + len(stages) * (LEAST + GAP)) + BAR, 0.066 * len(said) + 0.2,
                0.056 * len(note) + 0.2)  # fmt: skip
    across = (width - BAR) / blocks
    side = min((across - label) / len(stages) - GAP, MOST)
    tall, top, bottom = side * shape, 0.88, 0.28
    height = top + depth * (tall + BELOW + GAP) + bottom
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        for place, model in enumerate(models):
            block, row = divmod(place, depth)
            start, below = label + block * across, height - top - row * (tall + BELOW + GAP) - tall
            x, y = (start - 0.1) / width, below + tall / 2
            name = next(item.model for item in maps if item.label == model[0])
            mark(figure.text(x, y / height, shorten(model[0]), ha="right", va="center"), name)
            if model[1] and not untrained:
                figure.text(x, (y - 0.17) / height, "random init", ha="right", va="center", fontsize=7, color=MUTED)
            for column, stage in enumerate(stages):
                left = start + column * (side + GAP)
                if row == 0:
                    figure.text(
                        left / width, 1 - (top - 0.08) / height, f"stage {stage + 1}", fontsize=8.5, color=MUTED
                    )
                for item in maps:
                    if (item.label, item.is_untrained, item.stage) == (*model, stage):
                        _draw(of_pixels(figure, (left, below, side, tall), item.pixels.shape), item)
        _colour_bar(figure, width - BAR, (height - top - tall, min(tall, 2.0)))
        figure.text(
            0.1 / width, 1 - 0.1 / height, "Effective receptive field", fontsize=11, fontweight="bold", va="top"
        )
        figure.text(0.1 / width, 1 - 0.36 / height, said, fontsize=8.5, color=MUTED, va="top")
        figure.text(0.1 / width, 0.1 / height, note, fontsize=7, color=MUTED, va="bottom")
    return figure


def _colour_bar(figure: Figure, x: float, span: tuple[float, float]) -> None:
    """What a colour means, beside the first row: shares of a panel's maximum, at (bottom, height) in inches."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((x / width, span[0] / height, 0.1 / width, span[1] / height))
    axes.imshow(np.linspace(0, 1, 128)[:, None], cmap=HEAT, aspect="auto", origin="lower", extent=(0, 1, 0, 1))
    axes.set_xticks([])
    axes.set_yticks([tick**GAMMA for tick in TICKS], [f"{100 * tick:g} %" for tick in TICKS], fontsize=6.5)
    axes.yaxis.tick_right()
    axes.tick_params(length=2, width=0.5, pad=1.5)
    axes.set_xlabel("of max", fontsize=6.5, color=MUTED, labelpad=9)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _draw(pane: Pane, item: ErfMap) -> None:
    height, width = item.pixels.shape
    peak = float(item.pixels.max()) or 1.0
    drawn: list[Artist] = [pane.fill((item.pixels / peak) ** GAMMA, HEAT), pane.frame()]
    (y, x), half = item.centre, item.side / 2
    # a square that reaches beyond the image is drawn along its edge, where it can be seen
    edge = 0.015 * width
    left, right = (min(max(end, edge - 0.5), width - 0.5 - edge) for end in (x - half, x + half))
    upper, lower = (min(max(end, edge - 0.5), height - 0.5 - edge) for end in (y - half, y + half))
    square = Rectangle((left, upper), right - left, lower - upper, fill=False, edgecolor=MARK, linewidth=1.1,
                       path_effects=CASING)  # fmt: skip
    drawn.append(pane.add(square))
    if item.side > 0.1 * width:  # in a smaller square it would hide the map
        x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
        cross = Line2D([x], [y], marker="+", color=MARK, markersize=5, markeredgewidth=1.0, path_effects=CASING)
        drawn.append(pane.add(cross))
    middle = (pane.box.x0 + pane.box.x1) / 2, pane.box.y0
    drawn.append(write(pane.figure, f"{item.value:.3f}", middle, (0, -4), ha="center", va="top", fontsize=8))
    mark(drawn, item.model, f"{item.label}, stage {item.stage + 1}: ERF@{item.percent:g} {item.value:.3f}")


def _words(frame: pd.DataFrame, definition: str) -> str:
    rows = erf_rows(frame, definition)
    words = []
    for column, unit in (("scale", ""), ("resolution", " px"), ("dataset", ""), ("num_images", " images")):
        values = list(dict.fromkeys(rows[column].dropna()))
        if len(values) == 1:
            words.append(f"{str(values[0]).partition(':')[0] if column == 'dataset' else values[0]}{unit}")
    count = trainings(frame, definition)
    return " · ".join([*words, definition, *([f"the first of {count} trainings"] if count > 1 else [])])
