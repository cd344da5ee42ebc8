"""Fourier heat maps: a panel for each model, read from the arrays beside the rows."""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from stmbench.analyses.frequency.figures.points import WHO, conditions_of, wrong_or_changed
from stmbench.analyses.frequency.options import ACCURACY, ERROR
from stmbench.figures.annotations import mark
from stmbench.figures.plot_data import Point
from stmbench.figures.style import MUTED, STYLE
from stmbench.tables.labels import number

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
    """The maps of wrong answers; of changed answers where no trained model has labels. Lost files are left out."""
    metric, found = wrong_or_changed(frame)
    rows = frame[(frame["metric"] == metric) & (frame["kind"] == "summary")].sort_values("created_utc", kind="stable")
    maps = []
    for point in found:
        same = rows[(rows["model"] == point.model) & (rows["weights"] == point.facts["weights"])]
        for name in WHO[2:]:
            same = same[same[name] == point.facts[name]]
        arrays = _read(folder / str(same["artifact"].iloc[-1])) if len(same) else {}
        if metric in arrays:
            reach = (int(arrays["rows"].max()), int(arrays["columns"].max()))
            norm, shares = float(arrays["norm"]), np.asarray(arrays[metric], dtype=np.float64)
            maps.append(HeatMap(point=point, metric=metric, shares=shares, reach=reach, norm=norm))
    return maps


def _read(path: Path) -> dict[str, Any]:
    if not zipfile.is_zipfile(path):  # missing, or cut short
        return {}
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


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
    mark(axes, item.point.key, f"{item.point.label}: {number(item.point.value, item.metric)} mean over the map")
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
