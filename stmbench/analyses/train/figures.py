"""Training curves: loss and accuracy by epoch, a line for each run."""

from __future__ import annotations

from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.ticker import MaxNLocator

from stmbench.analyses.registry import View
from stmbench.figures.annotations import mark, mark_legend
from stmbench.figures.palette import Style, style_of
from stmbench.figures.plot_data import labels
from stmbench.figures.style import MUTED, canvas, heading, log_axis, shorten

PANELS: Final = {"train_loss": "training loss", "accuracy": "top-1 accuracy, %"}


def training_figures(frame: pd.DataFrame) -> dict[str, Figure]:
    """Name -> figure, for the rows of analysis 'train'; none where no run has an epoch."""
    chosen = frame[(frame["analysis"] == "train") & (frame["kind"] == "raw") & frame["value"].notna()]
    chosen.attrs = frame.attrs
    if not chosen["metric"].isin(list(PANELS)).any():
        return {}
    return {"training_curves": curves(chosen)}


def curves(rows: pd.DataFrame) -> Figure:
    """Loss (log) and accuracy against the epoch; runs of one model with other seeds or data are thin lines."""
    names, mixers = labels(rows), rows.attrs.get("mixers", {})
    runs = rows.drop_duplicates(["model", "weights"])
    many = runs["model"].duplicated().any()
    with canvas(3.3, width=8.4, columns=len(PANELS), sharey=False) as (figure, panels):
        for axes, (metric, words) in zip(panels, PANELS.items(), strict=True):
            chosen, named = rows[rows["metric"] == metric], set[str]()
            for run in runs.to_dict("records"):
                line = chosen[(chosen["model"] == run["model"]) & (chosen["weights"] == run["weights"])]
                name = "" if run["model"] in named else shorten(names[run["model"]])
                named.add(run["model"])
                mixer = run["model"] if pd.isna(run["mixer"]) else run["mixer"]
                drawn = _line(axes, line.sort_values("sample"), metric, name, style_of(mixer, mixers), thin=bool(many))
                mark(drawn, str(mixer), _said(names[run["model"]], words, line))
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            axes.grid(axis="y")
            axes.annotate(words, (1, 1), (-2, 4), "axes fraction", textcoords="offset points", ha="right",
                          fontweight="bold", color=MUTED)  # fmt: skip
        _scale_loss(panels[0], rows)
        handles, texts = panels[-1].get_legend_handles_labels()
        legend = figure.legend(handles, texts, loc="outside right upper", fontsize=8)
        shown = runs.drop_duplicates("model")
        mark_legend(legend, [str(r["model"] if pd.isna(r["mixer"]) else r["mixer"]) for r in shown.to_dict("records")])
        heading(panels[0], "Training", _words(rows))
        for text in (text for axes in panels for text in axes.texts):
            text.set_in_layout(False)
    return figure


def _line(
    axes: Axes,
    line: pd.DataFrame,
    metric: str,
    name: str,
    look: Style,
    *,
    thin: bool,
) -> list[Line2D]:
    epochs = line["sample"].to_numpy(float) + 1
    values = line["value"].to_numpy(float) * (100 if metric == "accuracy" else 1)
    marker = MarkerStyle(look.marker) if len(epochs) <= 30 else None
    width, size = (0.9, 2.5) if thin else (1.4, 4.0)
    return axes.plot(
        epochs,
        values,
        color=look.colour,
        linestyle=look.stroke,
        linewidth=width,
        marker=marker,
        markersize=size,
        label=name or "_",
        zorder=3,
    )


def _said(name: str, words: str, line: pd.DataFrame) -> str:
    """The run's last value: a curve of many epochs has too many to say."""
    last = line.sort_values("sample").iloc[-1]
    value = 100 * last["value"] if last["metric"] == "accuracy" else last["value"]
    return f"{name}: {words} after epoch {int(last['sample']) + 1}: {value:.3g} (seed {last['seed']})"


def _scale_loss(axes: Axes, rows: pd.DataFrame) -> None:
    losses = rows.loc[(rows["metric"] == "train_loss") & (rows["value"] > 0), "value"]
    if len(losses):
        log_axis(axes, "y", float(losses.min()) / 1.3, float(losses.max()) * 1.3)


def _words(rows: pd.DataFrame) -> str:
    words = []
    for column, unit in (("scale", ""), ("resolution", " px"), ("dataset", ""), ("condition", "")):
        values = list(dict.fromkeys(rows[column].dropna()))
        if len(values) == 1:
            words.append(f"{str(values[0]).partition(':')[0] if column == 'dataset' else values[0]}{unit}")
    seeds = rows["seed"].nunique()
    return " · ".join([*words, *([f"{seeds} seeds"] if seeds > 1 else [])])


def figures(view: View) -> dict[str, Figure]:
    """Name -> figure; none where the rows hold nothing to draw."""
    return training_figures(view.rows)
