"""Effective receptive fields: a heat map for each stage of each model, and their size against accuracy."""

from __future__ import annotations

import dataclasses
import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from stmbench.analyses.erf.options import OURS
from stmbench.analyses.registry import View
from stmbench.errors import TableError
from stmbench.figures.annotations import mark, name_points, room_for_names, words
from stmbench.figures.plot_data import Point, labels, points
from stmbench.figures.style import HEAT, MARK, MUTED, STYLE, canvas, heading, letters, shorten
from stmbench.tables.labels import is_random
from stmbench.tables.rows import number


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ErfMap:
    """One stage of one model, `key` its mixer or itself.

    Mean map (H, W), the square's centre (y, x) and side in pixels, and its size.
    """

    label: str
    key: str
    is_untrained: bool
    stage: int
    pixels: NDArray[np.float32]
    centre: tuple[float, float]
    side: float
    value: float
    percent: float


def erf_rows(frame: pd.DataFrame, definition: str) -> pd.DataFrame:
    """The summary rows of one definition, of repeated measurements the newest."""
    chosen = frame[
        (frame["analysis"] == "erf")
        & (frame["definition"] == definition)
        & (frame["kind"] == "summary")
        & frame["value"].notna()
    ]
    newest = chosen.sort_values("created_utc", kind="stable")
    return newest.drop_duplicates(
        ["model", "weights", "stage", "level", "resolution", "dataset"], keep="last"
    ).sort_index()


def beyond_the_image(rows: pd.DataFrame) -> str | None:
    """What a size above 1 means, where `rows` have one; None otherwise."""
    if not (rows["value"] > 1).any():
        return None
    return "A size above 1 is that of a square that reaches beyond the image: its centre is not the image's."


def read_maps(frame: pd.DataFrame, definition: str, folder: Path) -> list[ErfMap]:
    """The maps behind the rows of the smallest percentage, in the table's order.

    Those whose file is gone or damaged are left out.
    A definition that is centred on the image has its square there.
    """
    rows = erf_rows(frame, definition)
    rows = rows[rows["level"] == rows["level"].min()]
    names, files, maps = labels(frame), dict[str, dict[str, Any]](), []
    gradient = "magnitude" if "rectified" not in definition and definition != "authors_code.v1" else "rectified"
    about_image = definition in ("paper.v1", "authors_code.v1")
    for row in rows.to_dict("records"):
        path = folder / str(row["artifact"])
        if str(path) not in files:
            files[str(path)] = _read(path)
        arrays, stage = files[str(path)], int(row["stage"])
        if f"{gradient}_{stage}" not in arrays:
            continue
        pixels = arrays[f"{gradient}_{stage}"]
        height, width = pixels.shape
        centre = (height // 2, width // 2) if about_image else tuple(map(float, arrays[f"centre_{stage}"]))
        maps.append(
            ErfMap(
                label=names[str(row["model"])],
                key=str(row["model"] if pd.isna(row["mixer"]) else row["mixer"]),
                is_untrained=is_random(row["weights"]),
                stage=stage,
                pixels=pixels,
                centre=(float(centre[0]), float(centre[1])),
                side=float(row["value"]) * math.sqrt(height * width),
                value=float(row["value"]),
                percent=float(row["level"]),
            )
        )
    return maps


def _read(path: Path) -> dict[str, Any]:
    if not zipfile.is_zipfile(path):  # missing, or cut short
        return {}
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


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
    drawn = {"erf": heat_maps(maps, _words(frame, definition))} if maps else {}
    plotted = against_accuracy(frame, definition, frame if beside is None else beside)
    return drawn if plotted is None else {**drawn, "erf_accuracy": plotted}


def heat_maps(maps: Sequence[ErfMap], words: str) -> Figure:
    """A row for each model and a column for each stage, with the square that holds the percentage drawn in.

    Each panel's colours go from zero to its own maximum, on a quarter-power scale. Squares are centred where the unit
    is (or where the definition says), and cut at the image's edge.
    """
    models = list(dict.fromkeys((item.label, item.is_untrained) for item in maps))
    stages = sorted({item.stage for item in maps})
    untrained = all(random for _, random in models)
    tall = SIDE * max(item.pixels.shape[0] / item.pixels.shape[1] for item in maps)
    label = 0.3 + 0.068 * max(letters(name) for name, _ in models)
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


def figures(view: View) -> dict[str, Figure]:
    """Name -> figure; none where the rows hold nothing to draw."""
    return erf_figures(view.rows, view.definition or OURS, view.folder, beside=view.everything)


def against_accuracy(frame: pd.DataFrame, definition: str, beside: pd.DataFrame) -> Figure | None:
    """A mark for each trained model and weights that both tables know, with both intervals; None where there are none.

    How often random weights are right is no result: they have no mark.
    """
    rows = erf_rows(frame, definition)
    if rows.empty:
        return None
    percent = 50 if (rows["level"] == 50).any() else rows["level"].min()
    rows = rows[rows["level"] == percent]
    last = rows[rows["stage"] == rows.groupby("model")["stage"].transform("max")].copy()
    last.attrs = frame.attrs
    accuracy = _accuracy(beside)
    pairs = [
        (point, accuracy[point.model, str(point.facts["weights"])])
        for point in points(last, "erf")
        if (point.model, str(point.facts["weights"])) in accuracy and not point.is_untrained
    ]
    if not pairs:
        return None
    width, height = room_for_names([size for size, _ in pairs])
    with canvas(height, width=width) as (figure, (axes,)):
        for size, right in pairs:
            across, up = ([[length] for length in errors] if errors else None for errors in _errors(size, right))
            bars = axes.errorbar(size.value, 100 * right.value, xerr=across, yerr=up, color=size.style.colour,
                          capsize=3, elinewidth=1.0, zorder=3)  # fmt: skip
            dot = axes.plot(size.value, 100 * right.value, color=size.style.colour,
                      marker=MarkerStyle(size.style.marker),
                      linestyle="none", markersize=8, zorder=4)  # fmt: skip
            mark([bars, dot], size.key, f"{words(size, 'erf')}; accuracy {number(right.value, 'accuracy')} %")
        axes.margins(0.15)
        axes.set_xlabel(f"ERF@{percent:g} of the last stage, of the input's side")
        axes.set_ylabel("top-1 accuracy, %")
        axes.grid(axis="both")
        heading(axes, "Receptive field and accuracy", definition)
        name_points(figure, axes, [(size, size.value, 100 * right.value) for size, right in pairs])
    return figure


def _accuracy(frame: pd.DataFrame) -> dict[tuple[str, str], Point]:
    chosen = frame[frame["analysis"] == "eval"]
    chosen.attrs = frame.attrs
    try:
        return {(point.model, str(point.facts["weights"])): point for point in points(chosen, "accuracy")}
    except TableError:
        return {}


def _errors(size: Point, right: Point) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    up = right.errors
    return size.errors, None if up is None else (100 * up[0], 100 * up[1])
