"""Image-by-image answers that two stores kept, in the same order: what a paired test needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stmbench.analyses.compare.conditions import keys
from stmbench.measure.statistics import Floats

SAME_UNIT = ("analysis", "definition", "model", "run_id", "dataset", "split", "seed", "resolution", "dtype")
TOP = 5


def paired_answers(
    rows: Sequence[Mapping[str, Any]], frames: Sequence[pd.DataFrame], folders: Sequence[Path]
) -> tuple[Floats, Floats] | None:
    """(images,) values at base and at head whose means are the rows' values; None where they cannot be paired.

    Of `eval --keep-predictions`: accuracy, top-5 accuracy, negative log-likelihood, Brier score.
    """
    if rows[0]["analysis"] != "eval" or rows[0]["metric"] not in _COLUMNS:
        return None
    tables = [_predictions(row, frame, folder) for row, frame, folder in zip(rows, frames, folders, strict=True)]
    base, head = tables
    if base is None or head is None:
        return None
    same = base[["index", "label"]].equals(head[["index", "label"]])
    if not same:
        return None
    values = [np.asarray(_COLUMNS[rows[0]["metric"]](table), dtype=np.float64) for table in (base, head)]
    return values[0], values[1]


_COLUMNS = {
    "accuracy": lambda table: table["rank"] == 0,
    "accuracy_top5": lambda table: table["rank"] < TOP,
    "nll": lambda table: table["nll"],
    "brier": lambda table: table["brier"],
}


def _predictions(row: Mapping[str, Any], frame: pd.DataFrame, folder: Path) -> pd.DataFrame | None:
    kept = frame[(frame["metric"] == "predictions") & frame["artifact"].notna()]
    wanted = tuple(None if pd.isna(row[name]) else row[name] for name in SAME_UNIT)
    for key, artifact in zip(keys(kept, SAME_UNIT), kept["artifact"], strict=True):
        if key == wanted:
            try:
                table = pd.read_parquet(folder / artifact)
            except (OSError, ValueError):  # removed or damaged: the intervals are still there
                return None
            return table.sort_values("index", ignore_index=True)
    return None
