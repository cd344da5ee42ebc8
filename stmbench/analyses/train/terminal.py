"""The results of `train` for a terminal."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from stmbench.analyses.registry import View
from stmbench.errors import TableError
from stmbench.figures.plot_data import labels
from stmbench.tables.labels import duration

OF_FEATURES: Final = {"knn_accuracy": "kNN", "instance_accuracy": "nearest view"}
HEADLINES: Final = {"accuracy": "top-1", "box_ap": "box AP", **OF_FEATURES}  # of each task


def training_table(frame: pd.DataFrame) -> Table:
    """One row for each run, with its task's score after the last epoch. Raises TableError where nothing was trained."""
    chosen = frame[(frame["analysis"] == "train") & frame["value"].notna()]
    chosen.attrs = frame.attrs
    if chosen.empty:
        raise TableError("rows of the analysis 'train'", "none", "run `stmbench train`")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, caption_justify="left", show_edge=False)
    table.add_column("model", min_width=11, max_width=34, overflow="fold")
    scored = [name for name in HEADLINES if (chosen["metric"] == name).any()]
    score = " or ".join(HEADLINES[name] for name in scored)
    for heading in ("seed", f"{score} %", "95 %", "best %", "train loss", "epochs", "images/s", "time"):
        table.add_column(heading, justify="right", no_wrap=True)
    names = labels(chosen)
    for (model, _), run in chosen.groupby(["model", "weights"], sort=False):
        epochs = run[run["kind"] == "raw"]
        metric = next(name for name in HEADLINES if (run["metric"] == name).any())
        final = _last(run[run["kind"] == "summary"], metric)
        name = Text(names[str(model)])
        if final["condition"] is not None and not pd.isna(final["condition"]):
            name.append(f"\n{final['condition']}", style="dim")
        speeds = epochs.loc[epochs["metric"] == "throughput", "value"]
        table.add_row(
            name,
            str(final["seed"]),
            f"{final['value']:.1%}".rstrip("%"),
            f"{100 * final['ci_low']:.1f}–{100 * final['ci_high']:.1f}",
            f"{_last(run, f'best_{metric}')['value']:.1%}".rstrip("%"),
            f"{_last(epochs, 'train_loss')['value']:.3g}",
            str(int((epochs["metric"] == "train_loss").sum())),
            f"{speeds.median():.0f}",
            duration(_last(run, "training_time")["value"]),
        )
    table.caption = Text("best: of all epochs, chosen by the images it is measured on", style="dim")
    return table


def _last(rows: pd.DataFrame, metric: str) -> dict[str, Any]:
    return {str(name): value for name, value in rows[rows["metric"] == metric].iloc[-1].items()}


def terminal(view: View) -> Table:
    """What the command prints. Raises TableError where the rows hold nothing to show."""
    return training_table(view.rows)
