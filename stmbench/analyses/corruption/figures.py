"""Accuracy by severity and its differences to a control; heat maps of models by corruptions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import matplotlib
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from matplotlib.patches import Rectangle

from stmbench.analyses.corruption.options import CLEAN, CORRUPTIONS, FAMILIES, SEVERITIES, overall, title
from stmbench.analyses.registry import View
from stmbench.errors import TableError
from stmbench.figures.annotations import mark, mark_legend, mark_point
from stmbench.figures.curves import ends_of, join_trainings, set_share_axis, share_limits
from stmbench.figures.differences import FEW_MODELS, differences, draw_differences
from stmbench.figures.palette import text_on
from stmbench.figures.plot_data import Point, labels, points, subtitle
from stmbench.figures.style import INK, MUTED, STYLE, canvas, heading, letters, rows_axis, shorten

ANALYSIS: Final = "corruption"
FEW: Final = 8  # panels; so many are not grouped by family
ACROSS: Final = 4  # panels in a row
LEAST_CELLS: Final = 5  # of a map: one or two models by one or two corruptions are a table
MAPS: Final = {"accuracy": "mean_accuracy", "errors": "corruption_error"}


def figures(view: View) -> dict[str, Figure]:
    """Name -> figure: up to four for each definition and data set in the rows, differences to a control first.

    A map of fewer than `LEAST_CELLS` cells is left out, as is what there are no rows for.
    """
    found: dict[str, Figure] = {}
    groups = _groups(view.rows)
    for (definition, dataset), rows in groups:
        words = [definition.replace(".", "_"), dataset.partition(":")[0]] if len(groups) > 1 else []
        drawn = {
            "differences": severity_differences,
            "severity": severity_curves,
            "accuracy": accuracy_map,
            "errors": error_map,
        }
        for name, draw in drawn.items():
            if name in MAPS and _cells(rows, MAPS[name]) < LEAST_CELLS:
                continue
            try:
                found["_".join([ANALYSIS, name, *words])] = draw(rows)
            except TableError:
                continue  # no control, no baseline, or no corruption that all severities were measured of
    return found


def left_out(view: View) -> list[str]:
    """A line on each map that is too small to be one."""
    found = []
    for _, rows in _groups(view.rows):
        for name, metric in MAPS.items():
            if 0 < (cells := _cells(rows, metric)) < LEAST_CELLS:
                text = f"No figure of {name} by corruption: it would hold {cells} cell{'s' if cells > 1 else ''}"
                found.append(f"{text}; the table has the values.")
    return found


def _groups(frame: pd.DataFrame) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    chosen = frame[frame["value"].notna()]
    groups = [((str(key[0]), str(key[1])), rows) for key, rows in chosen.groupby(["definition", "dataset"], sort=False)]
    for _, rows in groups:
        rows.attrs = frame.attrs
    return groups


def _cells(rows: pd.DataFrame, metric: str) -> int:
    """Of a map of models by corruptions."""
    chosen = rows[(rows["metric"] == metric) & rows["condition"].isin(list(CORRUPTIONS))]
    return int(chosen["model"].nunique() * chosen["condition"].nunique())


def severity_differences(frame: pd.DataFrame) -> Figure:
    """Accuracy minus the control's at each severity, by family, by corruption where they are few.

    Raises:
        TableError: no differences.
    """
    compared = differences(frame, "accuracy")
    if compared is None:
        raise TableError("differences in accuracy", "none", "run `stmbench corruption` with the model `identity`")
    present = {point.condition for point in compared.points}
    single = [name for name in CORRUPTIONS if name in present]
    columns = [name for name in FAMILIES if name in present]
    columns += [name for name in single if not any(name in FAMILIES[family] for family in columns)]
    if len(single) <= ACROSS:
        columns = single
    if len({point.label for point in compared.points}) > FEW_MODELS and overall(single) in present:
        facets = {"all of them": [point for point in compared.points if point.condition == overall(single)]}
    else:
        facets = {title(name): [point for point in compared.points if point.condition == name] for name in columns}
    if not any(facets.values()):
        raise TableError("differences under corruption", "none", "run `stmbench corruption` again")
    clean = [point for point in compared.points if point.condition == CLEAN]
    return draw_differences(
        {name: [*clean, *found] for name, found in facets.items()},
        compared.control.name,
        title="Accuracy under corruption",
        words=_conditions(compared.points),
        xlabel="severity",
        ticks={0.0: "clean", **{float(level): str(level) for level in SEVERITIES}},
    )


def severity_curves(frame: pd.DataFrame) -> Figure:
    """Top-1 accuracy at severities 1 to 5, and at 0 that of the clean images; a line for each model.

    A row of panels for each family, unless there are few. Bands are 95 % intervals over images.

    Raises:
        TableError: no accuracies of corrupted images.
    """
    accuracies = join_trainings(points(frame, "accuracy"))
    shown = [name for name in CORRUPTIONS if any(point.condition == name for point in accuracies)]
    if not shown:
        raise TableError("accuracies of corrupted images", "none", "run `stmbench corruption`")
    families = [[name for name in names if name in shown] for names in FAMILIES.values()]
    if len(shown) <= FEW:  # rows of one panel would leave most of the figure empty
        families = [shown[start : start + ACROSS] for start in range(0, len(shown), ACROSS)]
    families = [names for names in families if names]
    lines: dict[str, dict[str, list[Point]]] = {}  # label -> condition -> points
    for point in accuracies:
        lines.setdefault(point.label, {}).setdefault(str(point.condition), []).append(point)
    limits = share_limits(100 * end for point in accuracies for end in (point.value, *ends_of(point)))
    with _grid(len(families), max(map(len, families))) as (figure, grid):
        for panels, names in zip(grid, families, strict=True):
            for axes in panels[len(names) :]:
                axes.set_visible(False)
            for axes, name in zip(panels, names, strict=False):
                for of_model in lines.values():
                    if name in of_model:
                        line = [*of_model.get(CLEAN, []), *of_model[name]]
                        _curve(axes, sorted(line, key=lambda point: point.level))
                axes.set_title(title(name), fontsize=9, loc="left", color=INK, pad=3)
                axes.grid(axis="y")
        for column in range(len(grid[0])):  # the lowest panel of each column has the numbers
            lowest = max(row for row, names in enumerate(families) if column < len(names))
            grid[lowest][column].tick_params(labelbottom=True)
        first = grid[0][0]
        set_share_axis(first, *limits, ends=(0, 100))
        first.set_xlim(-0.25, 5.25)
        first.set_xticks(range(6), ["clean", *"12345"])
        figure.supylabel("top-1 accuracy, %", fontsize=9)
        figure.supxlabel(f"severity\n{_conditions(accuracies)}", fontsize=9, color=MUTED)
        keys = [next(iter(of_model.values()))[0] for of_model in lines.values()]
        handles = [_handle(point) for point in keys]
        legend = figure.legend(
            handles, [shorten(_name(point)) for point in keys], loc="outside right upper", fontsize=8
        )
        mark_legend(legend, [point.model for point in keys])
        figure.suptitle("Accuracy by corruption and severity", x=0.01, ha="left", fontsize=11, fontweight="bold")
    return figure


def accuracy_map(frame: pd.DataFrame) -> Figure:
    """Models by corruptions: mean accuracy over the severities, with the clean accuracy and the mean of all."""
    accuracies = join_trainings(points(frame, "mean_accuracy"))
    clean = join_trainings(point for point in points(frame, "accuracy") if point.condition == CLEAN)
    return _heat_map([*clean, *accuracies], "mean_accuracy", "Mean accuracy under corruption, %", centre=None)


def error_map(frame: pd.DataFrame) -> Figure:
    """Models by corruptions: errors in per cent of the baseline's (CE), and their mean. Raises TableError without."""
    errors = join_trainings([*points(frame, "corruption_error"), *_maybe(frame, "mean_corruption_error")])
    names = labels(frame)
    baselines = dict.fromkeys(str(point.baseline) for point in errors)
    whose = "/".join(shorten(names.get(model, model)) for model in baselines)
    return _heat_map(errors, "corruption_error", f"Corruption error, % of the error of {whose}", centre=100.0)


def _heat_map(measured: Sequence[Point], metric: str, words: str, *, centre: float | None) -> Figure:
    cells: dict[str, dict[str | None, Point]] = {}
    for point in measured:
        cells.setdefault(point.label, {})[point.condition] = point
    shown = [name for name in CORRUPTIONS if any(name in row for row in cells.values())]
    columns: dict[str | None, str] = {CLEAN: "clean"} if any(CLEAN in row for row in cells.values()) else {}
    columns |= {name: title(name) for name in shown}
    whole = overall(shown)
    if len(shown) > 1 and any(whole in row for row in cells.values()):
        columns[whole] = "mean" if centre is None else "mCE"
    order = sorted(cells, key=lambda label: _rank(cells[label], shown), reverse=centre is None)
    names = [_name(next(iter(cells[label].values()))) for label in order]
    values = [100 * point.value for row in cells.values() for condition, point in row.items() if condition in columns]
    places = _places(list(columns))
    width = 1.6 + 0.07 * max(map(letters, names)) + 0.47 * (max(places.values()) + 1)
    with canvas(1.75 + 0.34 * max(len(order), 2), width=max(width, 5.5)) as (figure, (axes,)):
        rows_axis(axes, names)
        axes.grid(visible=False)
        for number, label in enumerate(order):
            for condition, place in places.items():
                cell = cells[label].get(condition)
                if cell is not None:
                    _cell(axes, place, number, cell, metric, values, centre)
        for tick, label in zip(axes.get_yticklabels(), order, strict=True):
            mark(tick, next(iter(cells[label].values())).model)
        axes.set_xticks([*places.values()], [*columns.values()], rotation=40, ha="left", rotation_mode="anchor")
        axes.xaxis.tick_top()
        axes.tick_params(axis="x", length=0, pad=1)
        axes.spines["bottom"].set_visible(False)
        axes.set_xlim(-0.55, max(places.values()) + 0.55)
        heading(axes, words)
        axes.set_xlabel(_conditions(measured), color=MUTED, fontsize=8, loc="left")
    return figure


def _cell(
    axes: Axes, x: float, y: int, point: Point, metric: str, values: Sequence[float], centre: float | None
) -> None:
    value = 100 * point.value
    if centre is None:
        colour = matplotlib.colormaps["YlGnBu"](0.55 * value / max(*values, 1e-9))
    else:  # blue is better than the baseline, red is worse
        reach = max(abs(other - centre) for other in values) or 1.0
        colour = matplotlib.colormaps["RdBu_r"](0.5 + 0.4 * (value - centre) / reach)
    patch = axes.add_patch(
        Rectangle((x - 0.5, y - 0.46), 1.0, 0.92, facecolor=colour, edgecolor="white", linewidth=0.8)
    )
    text = axes.text(x, y, f"{value:.1f}", ha="center", va="center", fontsize=7.5, color=text_on(to_hex(colour)))
    mark_point([patch, text], point, metric)


def _places(columns: Sequence[str | None]) -> dict[str | None, float]:
    """Where each column stands, with a gap between families, after the clean images and before the mean."""
    family = {name: number for number, names in enumerate(FAMILIES.values()) for name in names}
    positions: dict[str | None, float] = {}
    place, before = 0.0, None
    for column in columns:
        kind = family.get(str(column), column)
        place += 0.0 if not positions else 1.0 if kind == before else 1.2
        positions[column], before = place, kind
    return positions


def _rank(row: Mapping[str | None, Point], shown: Sequence[str]) -> float:
    values = [row[name].value for name in shown if name in row]
    return math.fsum(values) / len(values) if values else 0.0


def _curve(axes: Axes, line: Sequence[Point]) -> None:
    (colour, marker, stroke), level = line[0].style, [point.level for point in line]
    low, high = ([100 * ends_of(point)[side] for point in line] for side in (0, 1))
    value = [100 * point.value for point in line]
    drawn: list[Artist] = [axes.fill_between(level, low, high, color=colour, alpha=0.1, linewidth=0, zorder=2)]
    drawn += axes.plot(level, value, color=colour, linestyle=stroke, marker=MarkerStyle(marker), markersize=3.2,
                       linewidth=1.1, zorder=3)  # fmt: skip
    said = ", ".join(f"{point.level:g}: {100 * point.value:.1f}" for point in line)
    mark(drawn, line[0].model, f"{line[0].label}: {title(str(line[-1].condition))}, accuracy in % at severity {said}")


def _handle(point: Point) -> Artist:
    colour, marker, stroke = point.style
    return matplotlib.lines.Line2D(
        [], [], color=colour, linestyle=stroke, marker=MarkerStyle(marker), markersize=4.5, linewidth=1.3
    )


@contextmanager
def _grid(rows: int, columns: int) -> Iterator[tuple[Figure, list[list[Axes]]]]:
    """Small panels that share both axes."""
    with matplotlib.rc_context({**STYLE, "xtick.labelsize": 7.5, "ytick.labelsize": 7.5}):
        figure = Figure(figsize=(2.2 + 1.65 * columns, 0.9 + 1.35 * rows), layout="constrained")
        yield figure, figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).tolist()


def _name(point: Point) -> str:
    doubt = point.is_untrained and "random init" not in point.setting
    return f"{point.label} (random init)" if doubt else point.label


def _conditions(measured: Sequence[Point]) -> str:
    """What all points share."""
    said = subtitle(list(measured), without=("batch_size",))
    data = sorted({str(point.facts["dataset"]).partition(":")[0] for point in measured})
    images = {point.count for point in measured}
    counts = [f"{images.pop()} images"] if len(images) == 1 else []
    definitions = sorted({str(point.facts["definition"]) for point in measured})
    trainings = max(point.trainings for point in measured)
    more = [f"{trainings} trainings each"] if trainings > 1 else []
    return " · ".join([*([said] if said else []), *data, *counts, *definitions, *more])


def _maybe(frame: pd.DataFrame, metric: str) -> list[Point]:
    try:
        return points(frame, metric)
    except TableError:
        return []
