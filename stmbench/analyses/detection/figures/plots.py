"""Average precision of detectors: each with its interval, by size of object, by class, and as precision over recall."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from matplotlib.patches import Rectangle

from stmbench.figures.annotations import mark, mark_legend, mark_point
from stmbench.figures.curves import End, ends_of, join_trainings, limits_from_zero, lines_of, name_ends, set_share_axis
from stmbench.figures.differences import differences
from stmbench.figures.dots import conditions, dot_plot, named
from stmbench.figures.palette import strokes_of, text_on
from stmbench.figures.plot_data import Point, points_of
from stmbench.figures.style import HEAT, INK, MUTED, canvas, heading, letters, rows_axis, shorten
from stmbench.tables.rows import number

KINDS: Final = {"box": "box", "mask": "mask"}
SIZES: Final = {"small": "small\n< 32² px", "medium": "medium\n32² to 96² px", "large": "large\n> 96² px"}
OVERLAPS: Final = {"overlap=0.5": "IoU ≥ 0.5", "overlap=0.75": "IoU ≥ 0.75"}
RECALLS: Final = 101  # of a curve
MOST_CLASSES: Final = 20  # rows of the map
LEAST_CELLS: Final = 5  # of the map: fewer are a table
CLASS: Final = "class="  # what a row's condition begins with


def detection_figures(frame: pd.DataFrame) -> dict[str, Figure]:
    """Name -> figure, for the rows of analysis 'detection'."""
    found = {}
    if len(points_of(frame, "box_ap")) > 1:
        found["detection_ap"] = average_precision(frame)
    for kind in KINDS:
        if _nothing_found(frame, kind):
            continue
        words = "" if kind == "box" else f"_{kind}"
        if sizes := _by_size(frame, kind):
            found[f"detection{words}_sizes"] = by_size(sizes, kind)
        if precisions := _precisions(frame, kind):
            found[f"detection{words}_curves"] = curves(precisions, kind)
        if _cells(classes := by_class(frame, kind)) >= LEAST_CELLS:
            found[f"detection{words}_classes"] = class_map(classes, kind)
    return found


def left_out(frame: pd.DataFrame) -> list[str]:
    """A line on each figure, or part of one, for which the rows are too few."""
    found = []
    if len(points_of(frame, "box_ap")) == 1:
        found.append("No figure of average precision: it would hold one point; the table has its value.")
    missing = [size for size in SIZES if points_of(frame, "box_ap") and not points_of(frame, f"box_ap_{size}")]
    if missing:
        found.append(f"No AP of {' or '.join(missing)} objects: the images have none.")
    if points_of(frame, "box_ap") and _nothing_found(frame, "box"):
        return [*found, "No figure of AP by size, by class and over recall: every AP50 is 0."]
    cells = _cells(by_class(frame, "box"))
    if 0 < cells < LEAST_CELLS:
        text = f"No figure of AP by class: it would hold {cells} cell{'s' if cells > 1 else ''}"
        found.append(f"{text}; the table has the values.")
    return found


def _nothing_found(frame: pd.DataFrame, kind: str) -> bool:
    """Whether no detector has found anything."""
    return not any(point.value for point in points_of(frame, f"{kind}_ap50"))


def average_precision(frame: pd.DataFrame) -> Figure:
    """Box AP, its difference to the control's, and mask AP; a row for each model, the best first."""
    each, words = {}, {}
    for kind, what in KINDS.items():
        metric = f"{kind}_ap"
        if not (found := points_of(frame, metric)):
            continue
        each[metric], words[metric] = found, f"{what} AP, %"
        if (compared := differences(frame, metric)) is not None:
            name = f"{metric}_difference"
            each[name], words[name] = compared.points, f"{what} AP minus that of\n{compared.control.name}, points"
    return dot_plot(each, words, "Average precision")


def _by_size(frame: pd.DataFrame, kind: str) -> dict[str, list[Point]]:
    """Size -> points, of sizes that there are objects of."""
    found = {size: join_trainings(points_of(frame, f"{kind}_ap_{size}")) for size in SIZES}
    return {size: points for size, points in found.items() if points}


def by_size(sizes: Mapping[str, list[Point]], kind: str) -> Figure:
    """AP of small, medium and large objects: a mark for each model, side by side, names at the right."""
    every = [point for found in sizes.values() for point in found]
    order = {label: place for place, label in enumerate(_by_mean(every))}
    step = min(0.11, 0.6 / len(order))
    with canvas(max(3.8, 1.6 + 0.16 * len(order)), width=7.4) as (figure, (axes,)):
        whiskers = [100 * end for point in every for end in (*ends_of(point), point.value)]
        set_share_axis(axes, *limits_from_zero(whiskers), ends=(0, 100))
        ends = []
        for label, place in order.items():
            shift = step * (place - (len(order) - 1) / 2)
            own = [(x + shift, point) for x, found in enumerate(sizes.values()) for point in found
                   if point.label == label]  # fmt: skip
            colour, marker, stroke = own[0][1].style
            line = axes.plot([x for x, _ in own], [100 * point.value for _, point in own], color=colour,
                             linestyle=stroke, linewidth=0.9, alpha=0.5, zorder=2)  # fmt: skip
            mark(line, own[0][1].model)
            for x, point in own:
                if point.errors is not None:
                    lengths = [[100 * length] for length in point.errors]
                    mark_point(axes.errorbar(x, 100 * point.value, yerr=lengths, color=colour, capsize=2.5,
                                             elinewidth=1.0, zorder=3), point, f"{kind}_ap")  # fmt: skip
                dot = axes.plot(x, 100 * point.value, marker=MarkerStyle(marker), color=colour, markersize=6.5,
                                zorder=4)  # fmt: skip
                mark_point(dot, point, f"{kind}_ap")
            last = own[-1]
            ends.append(End(last[0], 100 * last[1].value, shorten(named(last[1])), last[1].model, last[1].style))
        axes.set_xlim(-0.5, len(sizes) - 0.5)
        axes.set_xticks(range(len(sizes)), [SIZES[size] for size in sizes])
        axes.tick_params(axis="x", length=0)
        axes.set_ylabel(f"{kind} AP, %")
        axes.grid(axis="y")
        heading(axes, f"{_capital(kind)} AP by size of object", conditions(every))
        name_ends(figure, axes, ends)
    return figure


def _by_mean(found: Sequence[Point]) -> dict[str, list[Point]]:
    """Label -> its points, the label with the largest mean first."""
    lines = lines_of(found)
    return dict(sorted(lines.items(), key=lambda item: -_mean([point.value for point in item[1]])))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _until_zero(line: Sequence[Point]) -> Sequence[Point]:
    """The curve to the first recall that is not reached."""
    end = next((place for place, point in enumerate(line) if point.value == 0), len(line))
    return line[: end + 1]


def _precisions(frame: pd.DataFrame, kind: str) -> list[Point]:
    """The curves' points; of several trainings their mean."""
    rows = frame[(frame["metric"] == f"{kind}_precision") & frame["level"].notna()].assign(kind="summary")
    rows.attrs = frame.attrs
    return join_trainings(points_of(rows, f"{kind}_precision"))


def curves(every: Sequence[Point], kind: str) -> Figure:
    """Precision at each of COCO's 101 recalls, the mean over classes: a panel for each overlap, a line for each."""
    panels_of = {key: [point for point in every if point.condition == key] for key in OVERLAPS}
    panels_of = {key: found for key, found in panels_of.items() if found}
    keys = {label: line[0] for label, line in _by_mean(every).items()}
    strokes = dict(zip(keys, strokes_of([point.style for point in keys.values()]), strict=True))
    with canvas(3.7, width=3.2 * len(panels_of) + 1.8, columns=len(panels_of)) as (figure, panels):
        for axes, (key, found) in zip(panels, panels_of.items(), strict=True):
            for label, of_model in lines_of(found).items():
                line = _until_zero(sorted(of_model, key=lambda point: point.level))
                recall, precision = [100 * point.level for point in line], [100 * point.value for point in line]
                drawn = axes.plot(recall, precision, color=line[0].style.colour, linestyle=strokes[label],
                                  linewidth=1.5, clip_on=False, zorder=3)  # fmt: skip
                area = math.fsum(precision) / RECALLS
                mark(drawn, line[0].model, f"{label}: AP at {OVERLAPS[key]} {area:.1f} %")
            axes.set_title(OVERLAPS[key], fontsize=9, loc="left", color=INK, pad=4)
            axes.set_xlabel("recall, %")
            axes.set_xlim(0, 100)
            axes.set_ylim(0, 100)
            axes.grid(axis="both")
        panels[0].set_ylabel(f"precision of {_plural(kind)}, %")
        handles = [panels[0].plot([], [], color=point.style.colour, linestyle=strokes[label], linewidth=1.5)[0]
                   for label, point in keys.items()]  # fmt: skip
        legend = figure.legend(
            handles, [shorten(named(point)) for point in keys.values()], loc="outside right upper", fontsize=8
        )
        mark_legend(legend, [point.model for point in keys.values()])
        figure.suptitle(f"Precision and recall of {_plural(kind)}", x=0.01, ha="left", fontsize=11, fontweight="bold")
        figure.supxlabel(conditions(every), fontsize=8.5, color=MUTED, x=0.01, ha="left")
    return figure


def by_class(frame: pd.DataFrame, kind: str) -> dict[str, dict[str, Point]]:
    """Class -> label -> AP; classes in which models differ most first, of one model the best first."""
    of_classes = frame["condition"].str.startswith(CLASS, na=False)
    rows = frame[(frame["metric"] == f"{kind}_ap") & of_classes].assign(kind="summary")
    rows.attrs = frame.attrs
    found: dict[str, dict[str, Point]] = {}
    for point in join_trainings(points_of(rows, f"{kind}_ap")):
        found.setdefault(str(point.condition).removeprefix(CLASS), {})[point.label] = point
    return dict(sorted(found.items(), key=lambda item: -_spread([point.value for point in item[1].values()])))


def _spread(values: Sequence[float]) -> float:
    return max(values) - min(values) if len(values) > 1 else values[0]


def _cells(classes: Mapping[str, Mapping[str, Point]]) -> int:
    return sum(map(len, classes.values()))


def class_map(classes: Mapping[str, Mapping[str, Point]], kind: str) -> Figure:
    """A row for each class, a column for each model; at most `MOST_CLASSES` classes."""
    shown = dict(list(classes.items())[:MOST_CLASSES])
    models = {
        label: own[0] for label, own in _by_mean([one for found in classes.values() for one in found.values()]).items()
    }
    values = [point.value for found in shown.values() for point in found.values()]
    several = len(models) > 1
    rule = "by how much models differ" if several else "the best first"
    count = f"{len(shown)} of {len(classes)} classes" if len(shown) < len(classes) else f"{len(classes)} classes"
    said = f"{count}, {rule} · {conditions(list(models.values()))}"
    width = max(1.4 + 0.075 * max(map(letters, shown)) + 0.7 * len(models), 0.068 * len(said) + 0.3, 4.2)
    tallest = max(letters(named(point)) for point in models.values()) if several else 0
    with canvas(1.1 + 0.25 * max(len(shown), 2) + 0.045 * tallest, width=width) as (figure, (axes,)):
        rows_axis(axes, list(shown))
        axes.grid(visible=False)
        for row, found in enumerate(shown.values()):
            for column, label in enumerate(models):
                if label in found:
                    _cell(axes, column, row, found[label], kind, (min(values), max(values)))
        axes.set_xlim(-0.55, max(len(models), 3) - 0.45)
        names = [shorten(named(point)) for point in models.values()]
        axes.set_xticks(range(len(models)), names, rotation=40, ha="left", rotation_mode="anchor")
        axes.xaxis.tick_top()
        axes.tick_params(axis="x", length=0, pad=1)
        for tick, point in zip(axes.get_xticklabels(), models.values(), strict=True):
            mark(tick, point.model)
        axes.spines["bottom"].set_visible(False)
        axes.set_title(f"{_capital(kind)} AP by class, %", loc="left", fontsize=11, fontweight="bold", pad=8)
        axes.set_xlabel(said, color=MUTED, fontsize=8, loc="left")
    return figure


def _cell(axes: Axes, x: int, y: int, point: Point, kind: str, span: tuple[float, float]) -> None:
    low, high = span
    share = 0.08 + 0.72 * (point.value - low) / (high - low) if high > low else 0.4
    colour = to_hex(HEAT(share))
    text = number(point.value, f"{kind}_ap")
    patch = axes.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, facecolor=colour, edgecolor="none"))
    words = axes.text(x, y, text, ha="center", va="center", fontsize=8, color=text_on(colour))
    name = str(point.condition).removeprefix(CLASS)
    mark([patch, words], point.model, f"{point.label}: {kind} AP of {name} {text} %")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _plural(kind: str) -> str:
    return "boxes" if kind == "box" else "masks"
