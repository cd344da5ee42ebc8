"""Consistency and accuracy against the level of a perturbation, as in Hu et al., Fig. 7."""

from __future__ import annotations

from typing import Final

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from matplotlib.ticker import MaxNLocator

from stmbench.analyses.registry import View
from stmbench.figures.annotations import mark, mark_legend
from stmbench.figures.palette import Style, style_of
from stmbench.figures.plot_data import labels
from stmbench.figures.style import MUTED, WIDTH, canvas, heading, shorten
from stmbench.tables.labels import are_random, is_random

PREFIX: Final = "invariance_"
PANELS: Final = {
    "consistency": "consistency",
    "consistency_on_correct": "consistency where right",
    "accuracy": "top-1 accuracy",
}
ACROSS: Final = {"translation": "shift, px", "rotation": "angle, degrees", "scale": "crop ratio"}


def invariance_figures(frame: pd.DataFrame) -> dict[str, Figure]:
    """Name -> figure: one for each kind of perturbation and definition in the table."""
    drawn: dict[str, Figure] = {}
    chosen = frame[frame["analysis"].str.startswith(PREFIX) & (frame["kind"] == "summary") & frame["value"].notna()]
    for (analysis, definition), rows in chosen.groupby(["analysis", "definition"], sort=False):
        rows.attrs = frame.attrs
        kind = str(analysis).removeprefix(PREFIX)
        drawn[f"{analysis}_{str(definition).replace('.', '_')}"] = curves(rows, kind, str(definition))
    return drawn


def curves(rows: pd.DataFrame, kind: str, definition: str) -> Figure:
    """A panel for each metric that the rows have, a line for each model, 95 % intervals as bands."""
    metrics = [metric for metric in PANELS if (rows["metric"] == metric).any()]
    names, mixers = labels(rows), rows.attrs.get("mixers", {})
    weights = rows.drop_duplicates(["model", "weights"])
    untrained = bool(are_random(weights["weights"]).all())
    with canvas(3.3, width=max(WIDTH, 1.6 + 2.9 * len(metrics)), columns=len(metrics)) as (figure, panels):
        for axes, metric in zip(panels, metrics, strict=True):
            for row in weights.to_dict("records"):
                line = rows[
                    (rows["metric"] == metric) & (rows["model"] == row["model"]) & (rows["weights"] == row["weights"])
                ].sort_values("level")
                name = names[row["model"]]
                name += " (random init)" if is_random(row["weights"]) and not untrained else ""
                mixer = row["model"] if pd.isna(row["mixer"]) else row["mixer"]
                drawn = _line(axes, line, shorten(name), style_of(mixer, mixers))
                mark(drawn, str(mixer), _said(names[row["model"]], metric, line))
            axes.set_xlabel(ACROSS[kind])
            axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
            axes.grid(axis="y")
            axes.annotate(PANELS[metric], (1, 1), (-2, -3), "axes fraction", textcoords="offset points", ha="right",
                          va="top", fontweight="bold", color=MUTED)  # fmt: skip
        panels[0].set_ylim(0, 112)
        panels[0].set_yticks(range(0, 101, 20))
        panels[0].set_ylabel("share of images, %")
        handles, texts = panels[0].get_legend_handles_labels()
        legend = figure.legend(handles, texts, loc="outside right upper", fontsize=8)
        mark_legend(
            legend, [str(row["model"] if pd.isna(row["mixer"]) else row["mixer"]) for row in weights.to_dict("records")]
        )
        heading(panels[0], f"Invariance: {kind}", _words(rows, definition, untrained))
        for text in (text for axes in panels for text in axes.texts):
            text.set_in_layout(False)  # else a long text takes its width from the panels
    return figure


def _line(axes: Axes, line: pd.DataFrame, name: str, style: Style) -> list[Artist]:
    colour, marker, stroke = style
    level = line["level"].to_numpy(float)
    value, low, high = (100 * line[column].to_numpy(float) for column in ("value", "ci_low", "ci_high"))
    band = axes.fill_between(level, low, high, color=colour, alpha=0.12, linewidth=0, zorder=2)
    curve = axes.plot(
        level,
        value,
        color=colour,
        linestyle=stroke,
        marker=MarkerStyle(marker),
        markersize=4.5,
        linewidth=1.3,
        label=name,
        zorder=3,
    )
    return [band, *curve]


def _said(name: str, metric: str, line: pd.DataFrame) -> str:
    """The values of a whole curve, level by level: a line has no single value to say."""
    values = ", ".join(
        f"{level:g}: {100 * value:.1f}" for level, value in zip(line["level"], line["value"], strict=True)
    )
    return f"{name}: {PANELS[metric]} in % at {values}"


def _words(rows: pd.DataFrame, definition: str, untrained: bool) -> str:
    words = []
    for column, unit in (("scale", ""), ("resolution", " px"), ("dataset", ""), ("num_images", " images")):
        values = list(dict.fromkeys(rows[column].dropna()))
        if len(values) == 1:
            words.append(f"{str(values[0]).partition(':')[0] if column == 'dataset' else values[0]}{unit}")
    return " · ".join([*words, definition, *(["random init"] if untrained else [])])


def figures(view: View) -> dict[str, Figure]:
    """Name -> figure; none where the rows hold nothing to draw."""
    return invariance_figures(view.rows)
