"""Weights that `stmbench train` left in a store, found by the name of their model: no file name has to be looked up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from stmbench.checkpoints.selection import Checkpoint
from stmbench.errors import ConfigError
from stmbench.tables import Store
from stmbench.tables.addresses import fetched, is_there, shown


def trained_checkpoints(folder: Path, models: Sequence[str], *, weights: str | None = None) -> dict[str, Checkpoint]:
    """model -> the weights of its newest training in a store, of the first seed where there are several.

    Args:
        weights: ema or raw; see `Checkpoint.parse`.

    Raises:
        ConfigError: a folder without trainings, or without a finished one of each of these models.
    """
    frame = Store(folder).read(columns=("analysis", "artifact", "created_utc", "metric", "model", "seed"))
    if frame.empty:
        raise ConfigError("a store of trainings as --checkpoint", f"no rows in {shown(folder)!r}", "correct the path")
    rows = frame[(frame["analysis"] == "train") & frame["artifact"].notna() & (frame["metric"] == "weights")]
    here = rows[rows["artifact"].map(lambda place: is_there(folder / str(place)))]
    if here.empty:
        got = f"none that is finished in {shown(folder)!r}"
        raise ConfigError("a store of trainings as --checkpoint", got, "name the --out of a stmbench train, or a file")
    lacking = [model for model in models if model not in set(here["model"])]
    if lacking:
        trained = ", ".join(dict.fromkeys(here["model"].astype(str)))
        raise ConfigError(f"a training of {lacking[0]} in {shown(folder)!r}", f"those of {trained}",
                          "train it, or name these models")  # fmt: skip
    return {model: _newest(here[here["model"] == model], folder, weights) for model in models}


def _newest(rows: pd.DataFrame, folder: Path, weights: str | None) -> Checkpoint:
    first = rows[rows["seed"] == rows["seed"].min()]
    place = first.sort_values("created_utc", kind="stable")["artifact"].iloc[-1]
    return Checkpoint.parse(str(fetched(folder / str(place))), weights=weights)
