"""What is left under attack: accuracy, or consistency where a set has no labels, against eps (Hu et al., Fig. 8)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle

from stmbench.analyses.registry import View
from stmbench.errors import TableError
from stmbench.figures.annotations import mark, mark_legend
from stmbench.figures.curves import End, ends_of, join_trainings, lines_of, name_ends, set_share_axis, share_limits
from stmbench.figures.differences import differences, draw_differences
from stmbench.figures.palette import Stroke, strokes_of
from stmbench.figures.plot_data import Point, points, subtitle
from stmbench.figures.style import INK, MUTED, canvas, letters, shorten

METRICS: Final = ("accuracy", "consistency")
SPREAD: Final = 0.5  # of the distance between two eps: models are drawn side by side, so that intervals can be read
WORDS: Final = {"apgd": "Auto-PGD", "fgsm_normalised": "FGSM on normalised input"}
Panels = Mapping[str, list[Point]]
Place = tuple[float, bool]  # what `place_of` gives


def robustness_figures(frame: pd.DataFrame) -> dict[str, Figure]:
    """Name -> figure, for the rows of analysis 'robustness'.

    First the differences to a control, where models of one scale were compared; then the curves, in one figure with a
    panel for each attack. Models of several scales give a figure for each attack, with a panel for each scale, as the
    paper has it.
    """
    chosen = _attacked(frame)
    drawn = {}
    for metric in METRICS:
        panels = _panels(chosen, metric)
        if not panels or _is_point(panels):
            continue
        by_scale = {title: scales_of(of_attack) for title, of_attack in panels.items()}
        if all(len(scales) == 1 for scales in by_scale.values()):
            if (figure := _differences(chosen, metric, panels)) is not None:
                drawn[f"robustness_{metric}_differences"] = figure
            drawn[f"robustness_{metric}"] = under_attack(panels, metric)
            continue
        for title, scales in by_scale.items():
            name = "".join(letter if letter.isalnum() else "_" for letter in title.lower()).strip("_")
            drawn[f"robustness_{metric}_{name}"] = under_attack(scales, metric, attack=title)
    return drawn


def left_out(frame: pd.DataFrame) -> list[str]:
    """A line on each figure that would hold one point."""
    chosen = _attacked(frame)
    return [
        f"No figure of {metric} under attack: it would hold one point; the table has its value."
        for metric in METRICS
        if _is_point(_panels(chosen, metric))
    ]


def _attacked(frame: pd.DataFrame) -> pd.DataFrame:
    chosen = frame[frame["analysis"] == "robustness"]
    chosen.attrs = frame.attrs
    return chosen


def _panels(frame: pd.DataFrame, metric: str) -> Panels:
    """`panels_of` with trainings joined; none where a set has labels or has none."""
    try:
        return {attack: join_trainings(found) for attack, found in panels_of(frame, metric).items()}
    except TableError:
        return {}


def _is_point(panels: Panels) -> bool:
    return sum(map(len, panels.values())) == 1


def _differences(frame: pd.DataFrame, metric: str, panels: Panels) -> Figure | None:
    """None where no models were compared."""
    facets: dict[str, list[Point]] = {}
    control = None
    for definition in frame["definition"].drop_duplicates():
        rows = frame[frame["definition"] == definition]
        rows.attrs = frame.attrs
        if (compared := differences(rows, metric)) is not None:
            control = control or compared.control
            if compared.control.model == control.model:
                facets[attack_words(str(definition))] = compared.points
    if control is None:
        return None
    levels = sorted({point.level for found in facets.values() for point in found})
    every = [point for found in panels.values() for point in found]
    return draw_differences(
        facets,
        control.name,
        title="Adversarial robustness" if metric == "accuracy" else "Adversarial consistency",
        words=" · ".join([*(facets if len(facets) == 1 else ()), *_conditions(every, metric)]),
        xlabel="eps",
        place=lambda point: float(levels.index(point.level)),
        ticks={float(number): eps_words(level) for number, level in enumerate(levels)},
    )


def under_attack(panels: Panels, metric: str, *, attack: str | None = None) -> Figure:
    """Panels side by side: a line for each model, 'clean' first, then the eps asked for, with 95 % intervals.

    The eps are evenly spaced, as they would crowd at 0 otherwise. Hollow marks are suspect: they break a check. Models
    with random weights are labelled so. Names stand at the ends of the last panel's lines if it has all models.

    Args:
        panels: title -> points, not empty.
        attack: of all panels, where the titles do not say it.
    """
    every = [point for chosen in panels.values() for point in chosen]
    levels = sorted({place_of(point) for point in every})
    labels = list(dict.fromkeys(point.label for point in every))
    firsts = {label: next(point for point in every if point.label == label) for label in labels}
    strokes = dict(zip(firsts, strokes_of([point.style for point in firsts.values()]), strict=True))
    attacks = attack or (next(iter(panels)) if len(panels) == 1 else "")
    words = " · ".join([*([attacks] if attacks else []), *_conditions(every, metric)])
    with canvas(4.2, width=_width(panels, len(levels), labels, words), columns=len(panels)) as (figure, axes):
        for place, (title, chosen) in zip(axes, panels.items(), strict=True):
            _panel(place, chosen, levels, strokes)
            if len(panels) > 1:
                place.set_title(title, fontsize=9, loc="left", color=INK, pad=4)
        axes[0].set_ylabel(f"{metric} under attack, %")
        limits = share_limits(100 * end for point in every for end in (point.value, *ends_of(point)))
        set_share_axis(axes[0], *limits, ends=(0, 100))
        title = f"Adversarial {'robustness' if metric == 'accuracy' else 'consistency'}"
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
        figure.supxlabel(words, fontsize=9, color=MUTED)
        last = lines_of(list(panels.values())[-1])
        handles = []
        if set(last) != set(labels):
            handles = [_handle(point, strokes[label], every) for label, point in firsts.items()]
        if not all(point.resolved for point in every):
            handles.append(Line2D([], [], color=MUTED, marker="o", markerfacecolor="white", linestyle="", markersize=6,
                                  label="breaks a check"))  # fmt: skip
        if handles:
            legend = figure.legend(handles=handles, loc="outside right upper", handletextpad=0.5)
            mark_legend(legend, [point.model for point in firsts.values()] if len(handles) > 1 else [])
        if set(last) == set(labels):
            ends = []
            for number, label in enumerate(labels):
                end = max(last[label], key=place_of)
                x = levels.index(place_of(end)) + _shift(number, len(labels))
                ends.append(End(x, 100 * end.value, _name(end, every), end.model, end.style))
            name_ends(figure, axes[-1], ends)
    return figure


def panels_of(frame: pd.DataFrame, metric: str) -> Panels:
    """Attack, in words -> its points. Raises TableError where there is none."""
    rows = frame[(frame["metric"] == metric) & (frame["kind"] == "summary")]
    curves: dict[str, list[Point]] = {}
    for definition in rows["definition"].drop_duplicates():
        chosen = rows[rows["definition"] == definition]
        chosen.attrs = frame.attrs
        curves[attack_words(str(definition))] = points(chosen, metric)
    if not curves:
        raise TableError(f"rows of the metric {metric!r}", "none", "run `stmbench robustness`")
    return curves


def scales_of(chosen: list[Point]) -> Panels:
    """Scale -> its points, whose labels leave it out; models without a scale stand in every panel."""
    scales = list(dict.fromkeys(scale for point in chosen if (scale := point.facts["scale"]) is not None)) or [""]
    return {
        scale: [
            dataclasses.replace(point, name=point.name.replace(f" {scale}", "", 1) if scale else point.name)
            for point in chosen
            if point.facts["scale"] in (scale, None)
        ]
        for scale in scales
    }


def attack_words(definition: str) -> str:
    """'stmbench.fgsm.v1' -> 'FGSM'; 'torchattacks.pgd10.v3.5.1' -> 'PGD-10 (torchattacks)'."""
    owner, attack = definition.split(".")[:2]
    name = attack.rstrip("0123456789")
    steps = attack.removeprefix(name)
    words = WORDS.get(name, name.upper()) + (f"-{steps}" if steps else "")
    return words if owner == "stmbench" else f"{words} ({owner})"


def place_of(point: Point) -> Place:
    """Where a point stands: eps, and whether it went through the attack; clean images stand before eps 0."""
    return point.level, point.level > 0 or point.condition is not None


def place_words(place: Place) -> str:
    """'clean', else eps in 255ths."""
    return eps_words(place[0]) if place[0] or not place[1] else "0/255"


def eps_words(level: float) -> str:
    """'clean' for 0, else in 255ths."""
    return f"{255 * level:.3g}/255" if level else "clean"


def _width(panels: Panels, levels: int, labels: list[str], words: str) -> float:
    """Inches that the panels, their titles, the line above them and the legend beside them take."""
    panel = max(2.6, 0.8 * levels, *(0.09 * len(title) + 0.3 for title in panels))
    return max(5.6, panel * len(panels), 0.07 * len(words)) + 1.4 + 0.07 * max(map(letters, labels))


def _shift(number: int, count: int) -> float:
    """Of the mark of one of `count` models from the place of its eps."""
    return SPREAD * ((number + 0.5) / count - 0.5)


def _panel(axes: Axes, chosen: list[Point], levels: list[Place], strokes: Mapping[str, Stroke]) -> None:
    present = [label for label in strokes if any(point.label == label for point in chosen)]
    for number, label in enumerate(present):
        line = sorted((point for point in chosen if point.label == label), key=place_of)
        shift = _shift(number, len(present))
        x = [levels.index(place_of(point)) + shift for point in line]
        y = [100 * point.value for point in line]
        colour, marker, _ = line[0].style
        lines = axes.plot(x, y, color=colour, linewidth=1.2, linestyle=strokes[label], alpha=0.55, zorder=2)
        mark(lines, line[0].model)
        for place, height, point in zip(x, y, line, strict=True):
            if point.errors is not None:
                whiskers = [[100 * length] for length in point.errors]
                bars = axes.errorbar(place, height, yerr=whiskers, color=colour, capsize=2, elinewidth=1.0, zorder=3)
                mark(bars, point.model, _said(point))
            dot = axes.plot(place, height, marker=MarkerStyle(marker), color=colour, markersize=5.5, zorder=4,
                      markerfacecolor=colour if point.resolved else "white")  # fmt: skip
            mark(dot, point.model, _said(point))
    axes.set_xticks(range(len(levels)), [place_words(level) for level in levels])
    axes.set_xlim(-0.5, len(levels) - 0.5)
    axes.set_xlabel("eps")
    axes.grid(axis="y")


def _said(point: Point) -> str:
    spread = "" if point.errors is None else f" (95 %: {100 * point.low:.1f} to {100 * point.high:.1f})"
    text = f"{point.label}, {place_words(place_of(point))}: {100 * point.value:.1f} %{spread}"
    return text if point.flaw is None else f"{text}, {point.flaw}"


def _conditions(every: list[Point], metric: str) -> list[str]:
    said = subtitle(every, without=("batch_size",))
    datasets = {str(point.facts["dataset"]).partition(":")[0] for point in every}
    words = [*([said] if said else []), *sorted(datasets)]
    if metric == "consistency":
        words.append("own predictions attacked")
    if (trainings := max(point.trainings for point in every)) > 1:
        words.append(f"{trainings} trainings each")
    return [*words, *(["random init"] if all(one.is_untrained for one in every) else [])]


def _handle(point: Point, stroke: Stroke, every: list[Point]) -> Line2D:
    colour, marker, _ = point.style
    label = _name(point, every)
    return Line2D([], [], color=colour, linestyle=stroke, marker=MarkerStyle(marker), label=label, markersize=6)


def _name(point: Point, every: list[Point]) -> str:
    mixed = point.is_untrained and not all(one.is_untrained for one in every) and "random init" not in point.setting
    return shorten(point.label) + (" (random init)" if mixed else "")


def figures(view: View) -> dict[str, Figure]:
    """Name -> figure; none where the rows hold nothing to draw."""
    return robustness_figures(view.rows)
