"""What is left under attack: accuracy, or consistency where a set has no labels, against eps (Hu et al., Fig. 8)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle

from stmbench.errors import TableError
from stmbench.figures.points import Point, points, subtitle
from stmbench.figures.style import MUTED, canvas, heading, shorten

METRICS: Final = ("accuracy", "consistency")
SPREAD: Final = 0.36  # of the distance between two eps: models stand beside each other, so that intervals can be read
RANDOM: Final = "random:"


def robustness_figures(frame: pd.DataFrame) -> dict[str, Figure]:
    """Name -> figure, for the rows of analysis 'robustness'."""
    chosen = frame[frame["analysis"] == "robustness"]
    chosen.attrs = frame.attrs
    drawn = {}
    for metric in METRICS:
        try:
            drawn[f"robustness_{metric}"] = under_attack(chosen, metric)
        except TableError:
            continue  # a set has labels or has none
    return drawn


def under_attack(frame: pd.DataFrame, metric: str) -> Figure:
    """A panel for each attack: a line for each model over the eps asked for, 'clean' first, with 95 % intervals.

    The eps are evenly spaced, as they would crowd at 0 otherwise. Hollow marks are suspect: they break a check. Models
    with random weights are labelled so. Raises TableError where there is no row of that metric.
    """
    panels = panels_of(frame, metric)
    every = [point for chosen in panels.values() for point in chosen]
    levels = sorted({point.level for point in every})
    labels = list(dict.fromkeys(point.label for point in every))
    width = max(7.0, 0.8 + max(2.6, 0.75 * len(levels)) * len(panels)) + 0.07 * max(map(len, map(shorten, labels)))
    with canvas(4.2, width=width, columns=len(panels)) as (figure, axes):
        for place, (title, chosen) in zip(axes, panels.items(), strict=True):
            _panel(place, chosen, levels, labels)
            if len(panels) > 1:
                place.annotate(title, (1, 1), (0, 4), "axes fraction", textcoords="offset points", ha="right",
                               color=MUTED)  # fmt: skip
        axes[0].set_ylabel(f"{metric} under attack, %")
        axes[0].set_ylim(-3, 103)
        words = [*([next(iter(panels))] if len(panels) == 1 else []), *_conditions(every)]
        if not all(point.resolved for point in every):
            words.append("hollow: breaks a check")
        heading(axes[0], f"Adversarial {'robustness' if metric == 'accuracy' else 'consistency'}", " · ".join(words))
        handles = [_handle(next(point for point in every if point.label == label), every) for label in labels]
        figure.legend(handles=handles, loc="outside right upper", handletextpad=0.5)
    return figure


def panels_of(frame: pd.DataFrame, metric: str) -> Mapping[str, list[Point]]:
    """Attack, in words -> its points. Raises TableError where there is none."""
    rows = frame[frame["metric"] == metric]
    found: dict[str, list[Point]] = {}
    for definition in rows["definition"].drop_duplicates():
        chosen = rows[rows["definition"] == definition]
        chosen.attrs = frame.attrs
        found[attack_words(str(definition))] = points(chosen, metric)
    if not found:
        raise TableError(f"rows of the metric {metric!r}", "none", "run `stmbench robustness`")
    return found


def attack_words(definition: str) -> str:
    """'stmbench.fgsm.v1' -> 'FGSM'; 'torchattacks.pgd10.v3.5.1' -> 'PGD10 (torchattacks)'."""
    owner, attack = definition.split(".")[:2]
    return attack.upper() if owner == "stmbench" else f"{attack.upper()} ({owner})"


def eps_words(level: float) -> str:
    """'clean' for 0, else in 255ths."""
    return f"{255 * level:.3g}/255" if level else "clean"


def _panel(axes: Axes, chosen: list[Point], levels: list[float], labels: list[str]) -> None:
    ticks: Callable[[float], int] = levels.index
    for number, label in enumerate(labels):
        line = sorted((point for point in chosen if point.label == label), key=lambda point: point.level)
        if not line:
            continue
        shift = SPREAD * ((number + 0.5) / len(labels) - 0.5)
        x = [ticks(point.level) + shift for point in line]
        y = [100 * point.value for point in line]
        colour, marker = line[0].look
        axes.plot(x, y, color=colour, linewidth=1.3, alpha=0.8, zorder=2)
        for place, height, point in zip(x, y, line, strict=True):
            if point.errors is not None:
                whiskers = [[100 * length] for length in point.errors]
                axes.errorbar(place, height, yerr=whiskers, color=colour, capsize=2, elinewidth=1.0, zorder=3)
            axes.plot(place, height, marker=MarkerStyle(marker), color=colour, markersize=6, zorder=4,
                      markerfacecolor=colour if point.resolved else "white")  # fmt: skip
    axes.set_xticks(range(len(levels)), [eps_words(level) for level in levels])
    axes.set_xlim(-0.5, len(levels) - 0.5)
    axes.set_xlabel("eps")
    axes.grid(axis="y")


def _conditions(every: list[Point]) -> list[str]:
    said = subtitle(every, without=("batch_size",))
    datasets = {str(point.facts["dataset"]).partition(":")[0] for point in every}
    return [*([said] if said else []), *sorted(datasets), *(["random init"] if all(map(_untrained, every)) else [])]


def _handle(point: Point, every: list[Point]) -> Line2D:
    mixed = _untrained(point) and not all(map(_untrained, every))
    label = shorten(point.label) + (" (random init)" if mixed else "")
    return Line2D([], [], color=point.look.colour, marker=MarkerStyle(point.look.marker), label=label, markersize=6)


def _untrained(point: Point) -> bool:
    weights = point.facts["weights"]
    return (
        weights is not None and not (isinstance(weights, float) and math.isnan(weights)) and weights.startswith(RANDOM)
    )
