"""Where the order of models changes: agreement of the throughput's ranking between settings."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stmbench.errors import TableError
from stmbench.figures.plot_data import Point, points
from stmbench.figures.style import INK, MUTED, canvas, heading, shorten

SETTING: Final = ("definition", "device", "dtype", "compile", "resolution", "batch_size")
FEWEST: Final = 3  # models in common, below which there is no order to speak of
AGREEMENT: Final = LinearSegmentedColormap.from_list("agreement", ["#b2452d", "#f4f1ea", "#2f6f8f"])


def stability(frame: pd.DataFrame) -> Figure:
    """Kendall's tau of every pair of settings, over the models both have; below it the pairs that surely change places.

    Raises TableError where no two settings have three models in common.
    """
    found = rankings(frame)
    names = list(found)
    taus = matrix(found)
    if not np.isfinite(taus[~np.eye(len(names), dtype=bool)]).any():
        raise TableError("throughput of three models in two settings", "fewer", "profile with --dtype fp32,bf16")
    side = 0.75 * len(names)
    beside = 0.075 * max(len(shorten(name)) for name in names)
    with canvas(side + 0.9 + 0.75 * beside, width=max(side + beside + 0.9, 5.0)) as (figure, (axes,)):
        axes.imshow(taus, cmap=AGREEMENT, vmin=-1, vmax=1)
        for row, column in itertools.product(range(len(names)), repeat=2):
            tau = taus[row, column]
            if row == column or not np.isfinite(tau):
                axes.annotate("–", (column, row), ha="center", va="center", color=MUTED)
                continue
            dark = abs(tau) > 0.7
            swaps = len(swapped(found[names[row]], found[names[column]]))
            axes.annotate(f"{tau:.2f}\n{swaps} sure", (column, row), ha="center", va="center", fontsize=7.5,
                          color="white" if dark else INK)  # fmt: skip
        axes.set_xticks(range(len(names)), [shorten(name) for name in names], rotation=35, ha="right")
        axes.set_yticks(range(len(names)), [shorten(name) for name in names])
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        heading(axes, "Does the order of models hold?", "Kendall's tau; sure: pairs whose intervals change places")
        for text in axes.texts:
            text.set_in_layout(False)
    return figure


def rankings(frame: pd.DataFrame) -> dict[str, dict[str, Point]]:
    """Setting, in words -> model -> throughput."""
    chosen = [point for point in points(frame, "throughput") if point.facts["stage"] is None]
    varying = [facet for facet in SETTING if len({point.facts[facet] for point in chosen}) > 1]
    found: dict[str, dict[str, Point]] = {}
    for point in chosen:
        said = " · ".join(_words(facet, point.facts[facet]) for facet in varying)
        found.setdefault(said or "all", {})[point.model] = point
    return found


def matrix(found: Mapping[str, Mapping[str, Point]]) -> NDArray[np.float64]:
    """Kendall's tau of each pair of settings (settings, settings); NaN where they have too few models in common."""
    taus = np.full((len(found), len(found)), np.nan)
    for (row, one), (column, other) in itertools.product(enumerate(found.values()), repeat=2):
        common = [model for model in one if model in other]
        if len(common) >= FEWEST:
            taus[row, column] = kendall([one[m].value for m in common], [other[m].value for m in common])
    return taus


def kendall(a: Sequence[float], b: Sequence[float]) -> float:
    """Kendall's tau-a: pairs in the same order less pairs in the other, over all pairs (Kendall 1938)."""
    pairs = list(itertools.combinations(range(len(a)), 2))
    return float(sum(np.sign(a[i] - a[j]) * np.sign(b[i] - b[j]) for i, j in pairs) / len(pairs))


def swapped(one: Mapping[str, Point], other: Mapping[str, Point]) -> list[tuple[str, str]]:
    """Pairs of models whose 95 % intervals are apart in both settings, in opposite order."""
    common = [model for model in one if model in other]
    return [
        (a, b) for a, b in itertools.permutations(common, 2) if _above(one[a], one[b]) and _above(other[b], other[a])
    ]


def _above(a: Point, b: Point) -> bool:
    return a.errors is not None and b.errors is not None and a.low > b.high


def _words(facet: str, value: object) -> str:
    match facet:
        case "compile":
            return "compiled" if value else "eager"
        case "resolution":
            return f"{value} px"
        case "batch_size":
            return f"batch {value}"
    return str(value)
