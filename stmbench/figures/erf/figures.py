"""Effective receptive fields: a heat map for each stage of each model, and their size against accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from stmbench.figures.affinity.maps import HEAT, MARK
from stmbench.figures.erf.accuracy import against_accuracy
from stmbench.figures.erf.maps import ErfMap, erf_rows, read_maps
from stmbench.figures.style import MUTED, STYLE, shorten
from stmbench.figures.svg_annotations import mark

SIDE: Final = 1.25  # inches of a panel
GAP: Final = 0.12
BELOW: Final = 0.2  # inches for the number under a panel
GAMMA: Final = 0.25  # colours follow this power of the map: its tails would be invisible


def erf_figures(
    frame: pd.DataFrame, definition: str, folder: Path, *, beside: pd.DataFrame | None = None
) -> dict[str, Figure]:
    """Name -> figure, for the rows of analysis 'erf'.

    Args:
        definition: which one is drawn.
        folder: of the store, where the maps are.
        beside: a table that may hold the models' accuracy, of the analysis 'eval'.
    """
    maps = read_maps(frame, definition, folder)
    found = {"erf": heat_maps(maps, _words(frame, definition))} if maps else {}
    plotted = against_accuracy(frame, definition, frame if beside is None else beside)
    return found if plotted is None else {**found, "erf_accuracy": plotted}


def heat_maps(maps: Sequence[ErfMap], words: str) -> Figure:
    """A row for each model and a column for each stage, with the square that holds the percentage drawn in.

    Each panel's colours go from zero to its own maximum, on a quarter-power scale. Squares are centred where the unit
    is (or where the definition says), and cut at the image's edge.
    """
    models = list(dict.fromkeys((item.label, item.is_untrained) for item in maps))
    stages = sorted({item.stage for item in maps})
    untrained = all(random for _, random in models)
    tall = SIDE * max(item.pixels.shape[0] / item.pixels.shape[1] for item in maps)
    label = 0.3 + 0.068 * max(len(shorten(name)) for name, _ in models)
    said = words + (" · random init" if untrained else "")
    note = (
        f"colours: quarter power of the map over its maximum; square: ERF@{maps[0].percent:g}; cross: the unit's centre"
    )
    width = max(label + len(stages) * (SIDE + GAP) + 0.1, 0.066 * len(said) + 0.2, 0.056 * len(note) + 0.2)
    top, bottom = 0.88, 0.28
    height = top + len(models) * (tall + BELOW + GAP) + bottom
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        for row, model in enumerate(models):
            below = height - top - row * (tall + BELOW + GAP) - tall
            name = shorten(model[0])
            key = next(item.key for item in maps if item.label == model[0])
            mark(figure.text((label - 0.1) / width, (below + tall / 2) / height, name, ha="right", va="center"), key)
            if model[1] and not untrained:
                figure.text((label - 0.1) / width, (below + tall / 2 - 0.17) / height, "random init",
                            ha="right", va="center", fontsize=7, color=MUTED)  # fmt: skip
            for item in maps:
                if (item.label, item.is_untrained) == model:
                    x = label + stages.index(item.stage) * (SIDE + GAP)
                    _draw(figure.add_axes((x / width, below / height, SIDE / width, tall / height)), item)
        for column, stage in enumerate(stages):
            x = label + column * (SIDE + GAP)
            figure.text(x / width, 1 - (top - 0.08) / height, f"stage {stage + 1}", fontsize=8.5, color=MUTED)
        figure.text(
            0.1 / width, 1 - 0.1 / height, "Effective receptive field", fontsize=11, fontweight="bold", va="top"
        )
        figure.text(0.1 / width, 1 - 0.36 / height, said, fontsize=8.5, color=MUTED, va="top")
        figure.text(0.1 / width, 0.1 / height, note, fontsize=7, color=MUTED, va="bottom")
    return figure


def _draw(axes: Axes, item: ErfMap) -> None:
    height, width = item.pixels.shape
    mark(axes, item.key, f"{item.label}, stage {item.stage + 1}: ERF@{item.percent:g} {item.value:.3f}")
    peak = float(item.pixels.max()) or 1.0
    axes.imshow((item.pixels / peak) ** GAMMA, cmap=HEAT, vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    (y, x), half = item.centre, item.side / 2
    axes.add_patch(Rectangle((x - half, y - half), item.side, item.side, fill=False, edgecolor=MARK, linewidth=1.0))
    if item.side > 0.1 * width:  # in a smaller square it would hide the map
        axes.plot([x], [y], marker="+", color=MARK, markersize=4, markeredgewidth=0.8)
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_linewidth(0.5)
    axes.annotate(f"{item.value:.3f}", (0.5, 0), (0, -4), "axes fraction", textcoords="offset points", ha="center",
                  va="top", fontsize=8)  # fmt: skip


def _words(frame: pd.DataFrame, definition: str) -> str:
    rows = erf_rows(frame, definition)
    words = []
    for column, unit in (("scale", ""), ("resolution", " px"), ("dataset", ""), ("num_images", " images")):
        values = list(dict.fromkeys(rows[column].dropna()))
        if len(values) == 1:
            words.append(f"{str(values[0]).partition(':')[0] if column == 'dataset' else values[0]}{unit}")
    return " · ".join([*words, definition])
