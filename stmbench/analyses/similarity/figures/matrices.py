"""Matrices of CKA as heat maps: layers of one model, layers of two models, models."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from stmbench.analyses.similarity.options import CKA, POOLED
from stmbench.figures.annotations import mark, words
from stmbench.figures.places import WHO, conditions_of, points_of
from stmbench.figures.plot_data import Point, labels
from stmbench.figures.style import GRID, HEAT, INK, MARK, MUTED, STYLE, letters, shorten
from stmbench.tables.files import read_arrays
from stmbench.tables.rows import number

Floats = NDArray[np.float64]
COLOURS: Final = HEAT.with_extremes(bad=GRID)
SIDE: Final = 1.55  # inches of a panel
GAP: Final = 0.3
ABREAST: Final = 4  # panels in a row
MOST: Final = 16  # panels in a figure
LONGEST: Final = 24  # characters over a panel
FEW_STAGES: Final = 6  # that are numbered at an axis
MOST_NUMBERS: Final = 12  # models of a matrix with numbers
DARK: Final = 0.65  # from which on words on a cell are white


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Panel:
    """CKA of the layers of a point's model (up) with its own or with those of `other`, a model's short name (across).

    `stages` and `other_stages` are those of the layers; that of the pooled features, the last layer, is -1.
    """

    point: Point
    other: str | None
    cka: Floats
    stages: list[int]
    other_stages: list[int]


def read_panels(frame: pd.DataFrame, folder: Path, condition: str) -> list[Panel]:
    """The matrices beside the rows of CKA with this condition; rows without one, and lost files, are left out."""
    rows = frame[(frame["metric"] == CKA) & (frame["condition"] == condition) & frame["artifact"].notna()]
    rows = rows.sort_values("created_utc", kind="stable")
    names, panels = labels(frame), []
    for point in points_of(frame, CKA, condition):
        same = rows[(rows["model"] == point.model) & (rows["definition"] == point.facts["definition"])]
        if point.baseline is not None:
            same = same[same["baseline"] == point.baseline]
        for name in WHO[1:]:
            value = point.facts[name]
            same = same[same[name].isna() if value is None else (same[name] == value).fillna(False)]
        arrays = read_arrays(folder / str(same["artifact"].iloc[-1])) if len(same) else {}
        if "cka" in arrays:
            stages, others = arrays["stages"].tolist(), arrays["other_stages"].tolist()
            other = None if point.baseline is None else names[point.baseline]
            panels.append(Panel(point=point, other=other, cka=arrays["cka"], stages=stages, other_stages=others))
    return panels


def layer_matrices(panels: Sequence[Panel]) -> Figure:
    """A panel for each model, or each pair: depth grows to the right and upwards, lines are borders of stages.

    All panels share the scale of colours, which begins at 0, or at 0.5 where no value is below.
    """
    shown = panels[:MOST]
    columns = min(ABREAST, len(shown))
    rows = -(-len(shown) // columns)
    untrained = all(panel.point.is_untrained for panel in panels)
    of_pairs = shown[0].other is not None
    title = "CKA between layers of two models" if of_pairs else "CKA between layers"
    said = conditions_of([panel.point for panel in panels], untrained)
    others = {panel.other for panel in shown}
    common = others.pop() if len(others) == 1 else None
    low = _lowest(panel.cka for panel in shown)
    note = "depth grows to the right and upwards; numbers are stages, p the pooled features"
    note += "; grey: no value" if any(np.isnan(panel.cka).any() for panel in shown) else ""
    if of_pairs:
        note = f"up: the model above the panel, across: {common or 'the second one'}; {note}"
    if len(panels) > len(shown):
        said += f" · the first {len(shown)} of {len(panels)}"
    width = max(0.5 + columns * (SIDE + GAP) + 0.75, 0.066 * len(said) + 0.2, 4.2)
    lines = textwrap.wrap(note, int((width - 0.2) / 0.056))
    title_lines = max(len(_names(panel, common)) for panel in shown)
    below = 0.48 + 0.13 * (1 + title_lines)  # a panel, for its words and the name of the next one
    top, bottom = 0.66 + 0.13 * (1 + title_lines), 0.13 * (len(lines) - title_lines) - 0.03
    height = top + rows * (SIDE + below) + bottom
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        for place, panel in enumerate(shown):
            row, column = divmod(place, columns)
            x, y = 0.5 + column * (SIDE + GAP), height - top - row * (SIDE + below) - SIDE
            axes = figure.add_axes((x / width, y / height, SIDE / width, SIDE / height))
            tag = " · random init" if panel.point.is_untrained and not untrained else ""
            image = _panel(axes, panel, common, tag, low)
        x = 0.5 + columns * (SIDE + GAP) - 0.08
        bar = figure.add_axes((x / width, (height - top - SIDE) / height, 0.1 / width, SIDE / height))
        _colour_bar(figure, image, bar)
        figure.text(0.1 / width, 1 - 0.1 / height, title, fontsize=11, fontweight="bold", va="top")
        figure.text(0.1 / width, 1 - 0.36 / height, said, fontsize=8.5, color=MUTED, va="top")
        figure.text(0.1 / width, 0.07 / height, "\n".join(lines), fontsize=7, color=MUTED, va="bottom")
    return figure


def _panel(axes: Axes, panel: Panel, common: str | None, tag: str, low: float) -> AxesImage:
    point, words_of = panel.point, "first block to last" if panel.other is None else "pooled"
    value = number(point.value, CKA)
    against = "" if panel.other is None else f" with {panel.other}"
    mark(axes, point.model, f"{point.label}{against}: CKA {words_of} {value}")
    # a value below 0, which an unbiased estimate of none can have, is shown as 0
    options: dict[str, Any] = {"cmap": COLOURS, "interpolation": "nearest", "aspect": "auto", "origin": "lower"}
    image = axes.imshow(panel.cka, vmin=low, vmax=1, **options)
    for stages, which in ((panel.other_stages, "x"), (panel.stages, "y")):
        _stage_axis(axes, stages, which)
    axes.tick_params(length=0, pad=2)
    for spine in axes.spines.values():
        spine.set_visible(False)
    names = _names(panel, common)
    axes.set_title("\n".join(map(_fitted, names)), fontsize=8.5 if len(names) == 1 else 7.5, pad=4)
    axes.set_xlabel(f"{words_of} {value}{tag}", fontsize=8, labelpad=2)
    return image


def _names(panel: Panel, common: str | None) -> list[str]:
    """The lines over a panel."""
    of_pair = panel.other is not None and common is None
    setting = panel.point.setting
    return [panel.point.name, *([setting] if setting else []), *([f"with {panel.other}"] if of_pair else [])]


def _stage_axis(axes: Axes, stages: Sequence[int], which: str) -> None:
    """A line at each border of stages that have several blocks, and the stages' numbers; p for the pooled features."""
    of = {stage: [place for place, other in enumerate(stages) if other == stage] for stage in dict.fromkeys(stages)}
    several = any(len(places) > 1 for places in of.values())
    for places in list(of.values())[1:] if several else []:
        (axes.axvline if which == "x" else axes.axhline)(places[0] - 0.5, color=MARK, linewidth=0.7)
    kept = list(of) if len(of) <= FEW_STAGES else [next(iter(of)), *list(of)[-2:]]
    ticks = [float(np.mean(of[stage])) for stage in kept]
    texts = ["p" if stage < 0 else str(stage + 1) for stage in kept]
    (axes.set_xticks if which == "x" else axes.set_yticks)(ticks, texts, fontsize=7)


def _lowest(matrices: Iterable[Floats]) -> float:
    """Where the scale of colours begins."""
    lowest = min((float(np.nanmin(matrix)) for matrix in matrices if np.isfinite(matrix).any()), default=0.0)
    return 0.5 if lowest >= 0.5 else 0.0


def _fitted(text: str) -> str:
    """A name, or a setting, that is no wider than a panel."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}…{text[-LONGEST // 2 + 1 :]}"


def _colour_bar(figure: Figure, image: AxesImage, axes: Axes) -> None:
    figure.colorbar(image, cax=axes).outline.set_visible(False)
    low = image.get_clim()[0] or 0.0
    ticks = [low, (low + 1) / 2, 1.0]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks], fontsize=7.5)
    axes.tick_params(length=0)


def model_groups(frame: pd.DataFrame) -> list[list[Point]]:
    """CKA of pooled features of pairs of models: those whose weights are trained, and those whose are random."""
    found = points_of(frame, CKA, POOLED)
    groups: dict[tuple[Any, ...], list[Point]] = {}
    for point in found:
        key = (point.is_untrained, *(point.facts[name] for name in ("dataset", "dtype")))
        groups.setdefault(key, []).append(dataclasses.replace(point, baseline=labels(frame)[str(point.baseline)]))
    return list(groups.values())


def model_matrix(found: Sequence[Point]) -> Figure:
    """CKA of the pooled features of every pair of models; with numbers where there are few models.

    Of several trainings of a pair the mean is shown.
    """
    names = list(dict.fromkeys(name for point in found for name in (str(point.baseline), point.name)))
    models = {point.name: point.model for point in found}
    cells = dict[tuple[int, int], list[Point]]()
    for point in found:
        row, column = sorted((names.index(point.name), names.index(str(point.baseline))))
        cells.setdefault((row, column), []).append(point)
    matrix = np.full((len(names), len(names)), np.nan)
    np.fill_diagonal(matrix, 1.0)
    for (row, column), of_pair in cells.items():
        matrix[row, column] = matrix[column, row] = np.mean([point.value for point in of_pair])
    trainings = max(len(of_pair) for of_pair in cells.values())
    said = conditions_of(found, all(point.is_untrained for point in found))
    said += " · pooled features" + (f" · mean of {trainings} trainings" if trainings > 1 else "")
    left = 0.2 + 0.065 * max(map(letters, names))
    size = (0.46 if len(names) <= MOST_NUMBERS else 0.24) * len(names)
    top, bottom = 0.7, 0.2 + 0.7 * left
    width, height = max(left + size + 0.8, 0.066 * len(said) + 0.2, 3.2), top + size + bottom
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        axes = figure.add_axes((left / width, bottom / height, size / width, size / height))
        low = _lowest([matrix])
        image = axes.imshow(matrix, cmap=COLOURS, vmin=low, vmax=1, interpolation="nearest", aspect="auto")
        axes.set_yticks(range(len(names)), [shorten(name) for name in names], fontsize=8)
        axes.set_xticks(range(len(names)), names, fontsize=8, rotation=45, ha="right", rotation_mode="anchor")
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        for tick, name in zip(axes.get_yticklabels(), names, strict=True):
            mark(tick, models.get(name, name))
        if len(names) <= MOST_NUMBERS:
            for place, value, of_pair in _cells(matrix, cells):
                text = axes.text(*place, f"{value:.2f}", ha="center", va="center", fontsize=7.5,
                                 color="white" if value - low > DARK * (1 - low) else INK)  # fmt: skip
                if of_pair:
                    mark(text, of_pair[0].model, "; ".join(_said(point) for point in of_pair))
        tall = min(size, SIDE)
        bar = figure.add_axes(
            ((left + size + 0.15) / width, (bottom + size - tall) / height, 0.1 / width, tall / height)
        )
        _colour_bar(figure, image, bar)
        figure.text(0.1 / width, 1 - 0.1 / height, "CKA between models", fontsize=11, fontweight="bold", va="top")
        figure.text(0.1 / width, 1 - 0.36 / height, said, fontsize=8.5, color=MUTED, va="top")
    return figure


def _cells(
    matrix: Floats, cells: dict[tuple[int, int], list[Point]]
) -> Iterator[tuple[tuple[int, int], float, list[Point]]]:
    """((x, y), value, points) of every cell that has a value."""
    for row, column in np.argwhere(np.isfinite(matrix)).tolist():
        ordered = (min(row, column), max(row, column))
        yield (column, row), float(matrix[row, column]), cells.get(ordered, [])


def _said(point: Point) -> str:
    return f"{words(point, CKA)}, with {point.baseline}"
