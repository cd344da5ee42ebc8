"""How far mixers reach, and how much of it is near, layer by layer (after Raghu et al. 2021, Fig. 3)."""

from __future__ import annotations

import dataclasses
import math
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle

from stmbench.errors import TableError
from stmbench.figures.annotations import mark, mark_legend
from stmbench.figures.palette import Style, strokes_of, style_of
from stmbench.figures.plot_data import labels
from stmbench.figures.style import GRID, MUTED, canvas, heading, shorten
from stmbench.tables.labels import is_random

FEWEST: Final = 3  # layers of a model, below which there is no depth to speak of


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """One model: places along the depth, mean over heads, lowest and highest head."""

    label: str
    model: str
    style: Style
    is_untrained: bool
    depth: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]


def distance_by_depth(frame: pd.DataFrame) -> Figure:
    """Mean attention distance of each layer, in pixels of the input. Raises TableError where there is no depth."""
    lines, stages = lines_of(frame, "attention_distance")
    with canvas(3.9, width=6.4 + beside(lines)) as (figure, axes):
        draw_lines(axes[0], lines, stages)
        axes[0].set_ylabel("mean attention distance, px")
        axes[0].set_ylim(0, 1.06 * max(max(line.high) for line in lines))
        heading(axes[0], "How far mixers reach, by depth", words_of(frame, lines))
        finish(figure, axes[0], lines)
    return figure


def locality_by_depth(frame: pd.DataFrame) -> Figure:
    """Share of the weight within each radius, a panel for each. Raises TableError where there is no depth."""
    radii = sorted(frame.loc[frame["metric"] == "mass_within", "level"].dropna().unique())[:3]
    if not radii:
        raise TableError("rows of the metric 'mass_within'", "none", "run `stmbench affinity`")
    by_radius = [lines_of(frame, "mass_within", radius) for radius in radii]
    lines = by_radius[0][0]
    width = max(2.9 * len(radii), 5.6) + 0.3 + beside(lines)
    with canvas(3.4, width=width, columns=len(radii)) as (figure, panels):
        for axes, radius, (of_radius, stages) in zip(panels, radii, by_radius, strict=True):
            draw_lines(axes, [_percent(line) for line in of_radius], stages)
            axes.set_xlabel(f"within {radius:g} tokens", fontweight="bold", color=MUTED)
        panels[0].set_ylabel("weight near the position, %")
        panels[0].set_ylim(0, 104)
        heading(panels[0], "How local mixers are, by depth", words_of(frame, lines))
        finish(figure, panels[0], lines)
    return figure


def lines_of(frame: pd.DataFrame, metric: str, level: float | None = None) -> tuple[list[Curve], int]:
    """The lines of all models, and the number of stages. Raises TableError where no model has FEWEST layers."""
    rows = frame[(frame["metric"] == metric) & frame["value"].notna()]
    rows = rows[~rows["condition"].isin(("static", "dynamic"))]
    rows = rows[rows["level"] == level] if level is not None else rows
    names, mixers = labels(frame), frame.attrs.get("mixers", {})
    lines, stages = [], int(rows["stage"].max()) + 1 if len(rows) else 0
    of_jacobian = from_jacobian(rows)
    for (model, weights, is_jacobian), group in rows.groupby(["model", "weights", of_jacobian], sort=False):
        layers = _values_of_layers(group)
        if len(layers) < FEWEST:
            continue
        blocks = {stage: block + 1 for stage, block in sorted(layers)}
        line: dict[str, list[float]] = {"depth": [], "mean": [], "low": [], "high": []}
        for (stage, block), (over_heads, heads) in sorted(layers.items()):
            mean = sum(over_heads) / len(over_heads) if over_heads else math.nan  # over positions, of a Jacobian
            line["depth"].append(stage + (block + 0.5) / blocks[stage] if stages > 1 else block + 1)
            line["mean"].append(mean)
            line["low"].append(min(heads, default=mean))
            line["high"].append(max(heads, default=mean))
        mixer = group["mixer"].iloc[0]
        lines.append(
            Curve(
                label=names[str(model)] + (" (Jacobian)" if is_jacobian and not of_jacobian.all() else ""),
                model=str(model),
                style=style_of(str(model if pd.isna(mixer) else mixer), mixers),
                is_untrained=is_random(weights),
                **line,
            )
        )
    if not lines:
        raise TableError(f"{metric} of at least {FEWEST} layers of a model", "fewer", "add --layers all")
    return lines, stages


def _values_of_layers(rows: pd.DataFrame) -> dict[tuple[int, int], tuple[list[float], list[float]]]:
    """(stage, block) -> the values over all heads, and those of single heads."""
    layers: dict[tuple[int, int], tuple[list[float], list[float]]] = {}
    columns = (rows[name].tolist() for name in ("stage", "block", "value"))
    for stage, block, value, is_head in zip(*columns, rows["head"].notna(), strict=True):
        layers.setdefault((stage, block), ([], []))[int(is_head)].append(value)
    return layers


def words_of(frame: pd.DataFrame, lines: list[Curve]) -> str:
    """The conditions that all share."""
    texts = {"scale": "{}", "resolution": "{} px", "num_images": "{} images", "dataset": "{}"}
    rows = frame.loc[frame["value"].notna() & frame["condition"].notna(), ["condition", *texts]]
    of_jacobian = from_jacobian(rows)
    words = []
    for column, text in texts.items():
        values = rows[column].dropna().unique()
        if len(values) == 1:
            said = text.format(str(values[0]).partition(":")[0])
            words.append("1 image" if said == "1 images" else said)
    if of_jacobian.all():  # else the lines' labels say it
        words += [str(name).replace("jacobian", "Jacobian") for name in rows["condition"].unique()[:1]]
    words += ["random init"] if all(line.is_untrained for line in lines) else []
    return " · ".join(words if of_jacobian.all() else [*words, "bars: lowest to highest head"])


def from_jacobian(rows: pd.DataFrame) -> pd.Series:
    """Which rows are of a Jacobian affinity, not of the affinity that a mixer offers."""
    return rows["condition"].astype("string").str.startswith("jacobian").fillna(False).astype(bool)


def _percent(line: Curve) -> Curve:
    mean, low, high = ([100 * value for value in values] for values in (line.mean, line.low, line.high))
    return dataclasses.replace(line, mean=mean, low=low, high=high)


def draw_lines(axes: Axes, lines: list[Curve], stages: int) -> None:
    """Means as curves over the depth, with a bar from the lowest to the highest head."""
    spread = 0.008 * max(stages, 1)
    for number, (line, stroke) in enumerate(zip(lines, strokes_of([line.style for line in lines]), strict=True)):
        colour, marker, own = line.style
        x = np.asarray(line.depth) + spread * (number - (len(lines) - 1) / 2)
        heads = axes.vlines(x, line.low, line.high, color=colour, alpha=0.3, linewidth=2.2, zorder=2)
        curve = axes.plot(x, line.mean, color=colour, linewidth=1.1, linestyle=stroke, marker=MarkerStyle(marker),
                  markersize=4, markerfacecolor=colour if stroke == own else "white", zorder=3)  # fmt: skip
        values = ", ".join(f"{value:.3g}" for value in line.mean)
        mark([heads, curve], line.model, f"{line.label}: {values} (layer by layer)")
    if stages > 1:
        for edge in range(1, stages):
            axes.axvline(edge, color=GRID, linewidth=1, zorder=0)
        axes.set_xticks([stage + 0.5 for stage in range(stages)], [f"stage {stage + 1}" for stage in range(stages)])
        axes.set_xlim(0, stages)
        axes.tick_params(axis="x", length=0)
    else:
        axes.set_xlabel("layer")
    axes.grid(axis="y")


def _label(line: Curve, lines: list[Curve]) -> str:
    mixed = not all(line.is_untrained for line in lines)
    return shorten(line.label) + (" (random init)" if mixed and line.is_untrained else "")


def beside(lines: list[Curve]) -> float:
    """Inches that the legend takes."""
    return 0.6 + 0.072 * max(len(part) for line in lines for part in _label(line, lines).split("\n"))


def finish(figure: Figure, axes: Axes, lines: list[Curve]) -> None:
    """The legend beside the panels; a long heading may reach over it, and takes nothing from them."""
    for text in axes.texts:
        text.set_in_layout(False)
    handles = []
    for line, stroke in zip(lines, strokes_of([line.style for line in lines]), strict=True):
        colour, marker, own = line.style
        fill = colour if stroke == own else "white"
        handles.append(Line2D([], [], color=colour, linestyle=stroke, marker=MarkerStyle(marker), markersize=5,
                              markerfacecolor=fill, label=_label(line, lines)))  # fmt: skip
    legend = figure.legend(handles=handles, loc="outside right upper", handletextpad=0.5, handlelength=3.2)
    mark_legend(legend, [line.model for line in lines])


METRICS: Final = {"alpha": "alpha (dynamic)", "beta": "beta (static)"}


def mixture_by_depth(frame: pd.DataFrame) -> Figure:
    """A panel for each coefficient, a line for each model. Raises TableError where no model mixes two parts."""
    by_metric = {}
    for metric in METRICS:
        try:
            by_metric[metric] = lines_of(frame, metric)
        except TableError:
            continue
    if not by_metric:
        raise TableError("alpha or beta of three layers", "none", "run `stmbench affinity` on a mixture")
    lines = next(iter(by_metric.values()))[0]
    width = max(2.9 * len(by_metric), 4.6) + 0.3 + beside(lines)
    with canvas(3.4, width=width, columns=len(by_metric)) as (figure, panels):
        for axes, (metric, (of_metric, stages)) in zip(panels, by_metric.items(), strict=True):
            draw_lines(axes, of_metric, stages)
            axes.annotate(METRICS[metric], (1, 1), (-2, -3), "axes fraction", textcoords="offset points",
                          ha="right", va="top", fontweight="bold", color=MUTED)  # fmt: skip
        panels[0].set_ylabel("coefficient")
        ends = [end for of_metric, _ in by_metric.values() for line in of_metric for end in (*line.low, *line.high)]
        panels[0].set_ylim(1.1 * min(0.0, *ends), 1.15 * max(0.1, *ends))
        heading(panels[0], "Dynamic and static parts, by depth", words_of(frame, lines))
        finish(figure, panels[0], lines)
    return figure
