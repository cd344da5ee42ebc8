"""Image-by-image answers that two stores kept, in the same order: what a paired test needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stmbench.analyses.robustness.outcomes import AT_ZERO, Outcomes
from stmbench.comparison.conditions import keys
from stmbench.measure.statistics import Floats

SAME_UNIT = ("analysis", "definition", "model", "run_id", "dataset", "split", "seed", "resolution", "dtype")
TOP = 5
_PREDICTED = {
    "accuracy": lambda table: table["rank"] == 0,
    "accuracy_top5": lambda table: table["rank"] < TOP,
    "nll": lambda table: table["nll"],
    "brier": lambda table: table["brier"],
}
# areas under curves are means over images too, as long as the same images count at both sides
_AREAS = {"consistency_auc": "consistency", "accuracy_auc": "accuracy"}


def paired_answers(
    rows: Sequence[Mapping[str, Any]], frames: Sequence[pd.DataFrame], folders: Sequence[Path]
) -> tuple[Floats, Floats] | None:
    """(images,) values at base and at head whose means are the rows' values; None where they cannot be paired.

    Of `eval --keep-predictions`: accuracy, top-5 accuracy, negative log-likelihood, Brier score. Of the invariances:
    the areas under the curves of consistency and accuracy. Of attacks: what is left at each eps.
    """
    find = {"eval": _predicted, "robustness": _attacked}.get(rows[0]["analysis"], _area)
    found = [find(row, frame, folder) for row, frame, folder in zip(rows, frames, folders, strict=True)]
    base, head = found
    if base is None or head is None or not np.array_equal(base[0], head[0]):
        return None
    values = base[1], head[1]
    # answers that do not add up to what the row says are not those behind it
    adds_up = all(abs(mine.mean() - row["value"]) < 1e-6 for mine, row in zip(values, rows, strict=True))
    return values if adds_up else None


Paired = tuple[NDArray[np.int64], Floats]  # (images, 2) index and label, (images,) values; sorted by index


def _predicted(row: Mapping[str, Any], frame: pd.DataFrame, folder: Path) -> Paired | None:
    if row["metric"] not in _PREDICTED:
        return None
    kept = frame[(frame["metric"] == "predictions") & frame["artifact"].notna()]
    wanted = tuple(None if pd.isna(row[name]) else row[name] for name in SAME_UNIT)
    for key, artifact in zip(keys(kept, SAME_UNIT), kept["artifact"], strict=True):
        if key == wanted:
            try:
                table = pd.read_parquet(folder / artifact).sort_values("index", ignore_index=True)
            except (OSError, ValueError):  # removed or damaged: the intervals are still there
                return None
            values = np.asarray(_PREDICTED[row["metric"]](table), dtype=np.float64)
            return table[["index", "label"]].to_numpy(dtype=np.int64), values
    return None


def _attacked(row: Mapping[str, Any], frame: pd.DataFrame, folder: Path) -> Paired | None:
    if row["metric"] not in ("accuracy", "consistency"):
        return None
    same = [name for name in (*SAME_UNIT, "metric", "level") if name != "run_id"]  # a summary may be of a later run
    wanted = tuple(None if pd.isna(row[name]) else row[name] for name in same)
    kept = frame[(frame["kind"] == "raw") & frame["artifact"].notna() & (frame["metric"] == row["metric"])]
    places = dict(zip(keys(kept, same), kept["artifact"], strict=True))
    try:
        outcomes = Outcomes.read(folder / places[wanted])
    except (OSError, ValueError, KeyError):
        return None
    found = outcomes.attacked_at_zero() if row["condition"] == AT_ZERO else dict(outcomes.levels())[row["level"]]
    if found is None:
        return None
    hits = found.astype(np.float64)
    # the labels that a model gave itself say nothing of who is paired with whom: two versions may differ in them
    labels = np.zeros_like(outcomes.labels) if outcomes.own_labels else outcomes.labels
    order = np.argsort(outcomes.indices, kind="stable")
    return np.stack([outcomes.indices, labels], axis=1)[order], hits[order]


def _area(row: Mapping[str, Any], frame: pd.DataFrame, folder: Path) -> Paired | None:
    if row["metric"] not in _AREAS or pd.isna(row["artifact"]):
        return None
    metric = _AREAS[row["metric"]]
    same = [*SAME_UNIT, "condition"]
    wanted = tuple(None if pd.isna(row[name]) else row[name] for name in same)
    curve = frame[(frame["metric"] == metric) & (frame["kind"] == "summary") & frame["value"].notna()]
    levels = sorted(
        {float(level) for key, level in zip(keys(curve, same), curve["level"], strict=True) if key == wanted}
    )
    try:
        with np.load(folder / row["artifact"]) as file:
            indices, labels, reference, predicted = (
                file[name] for name in ("indices", "labels", "reference", "predicted")
            )
    except (OSError, ValueError, KeyError):
        return None
    full = (predicted >= 0).all(axis=1)
    if full.sum() != len(levels) or len(levels) < 2:
        return None
    hits = (predicted[full] == (reference if metric == "consistency" else labels)).astype(np.float64)  # levels, images
    order = np.argsort(indices, kind="stable")
    steps = np.diff(levels) / (levels[-1] - levels[0])
    area = (steps @ (hits[:-1] + hits[1:])) / 2  # by trapezoids
    return np.stack([indices, labels], axis=1)[order], area[order]
