"""Quality of two stores: paired by image if both kept their predictions, else tested by counts or intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stmbench.analyses.robustness.outcomes import AT_ZERO, Outcomes
from stmbench.comparison.findings import Measured, conditions_text
from stmbench.measure.effects import Effect, difference_of_intervals, difference_of_proportions, paired_difference
from stmbench.measure.proportions import Z
from stmbench.measure.statistics import Floats, Interval
from stmbench.tables.rows import newest_rows, row_keys

HIGHER = (  # shares of images
    *("accuracy", "accuracy_top5", "accuracy_on_correct", "consistency"),
    *("knn_accuracy", "knn_accuracy_top5", "linear_accuracy", "instance_accuracy"),
)
HIGHER_AREAS = ("consistency_auc", "accuracy_auc", "consistency_on_correct_auc", "box_consistency_auc")
LOWER = ("nll", "brier")
PRECISIONS = ("box_ap", "mask_ap")  # of a whole set: by intervals, as no image has one
WHAT = (
    *("analysis", "definition", "model", "metric", "stage", "condition", "level"),
    *("dataset", "split", "num_images", "seed", "resolution", "dtype"),
)
REACH = {"nll": None, "brier": 2.0}  # the largest change of one image; 1 for shares and areas


def quality(
    frames: tuple[pd.DataFrame, ...],
    folders: tuple[Path, Path],
    *,
    margin: float,
) -> Iterator[Measured]:
    """Accuracy, consistency and the like, paired by image if both stores kept their predictions.

    Without predictions the stores count as independent samples, whose interval is wider than necessary.
    """
    qualities = [newest_rows(_tested(frame), WHAT) for frame in frames]
    for key in [key for key in qualities[0] if key in qualities[1]]:
        rows = [newest[key] for newest in qualities]
        named = dict(zip(WHAT, key, strict=True))
        paired = paired_predictions(rows, frames, folders)
        reach = REACH.get(named["metric"], 1.0)
        effect = _difference(rows) if paired is None else paired_difference(*paired, reach=reach)
        reason = None
        if effect is None:
            reason = "one of the stores has no interval, or one of zero width"
        yield Measured(
            model=named["model"],
            metric=named["metric"].replace("_ap", "_AP").replace("_", " "),
            conditions=conditions_text(named) + (", paired by image" if paired is not None else ""),
            kind="difference",
            lower_is_better=named["metric"] in LOWER,
            base=float(rows[0]["value"]),
            head=float(rows[1]["value"]),
            effect=effect,
            margin=margin,
            rounds=named["num_images"],
            reason=reason,
        )


def _tested(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of the tested metrics; for a curve of consistency its area instead of a test per level."""
    curves = frame["analysis"].str.startswith(("invariance", "box_consistency"))
    by_definition = (frame["metric"] == "consistency") & (frame["level"] == 0)  # a model agrees with itself
    single = frame["metric"].isin([*HIGHER, *LOWER, *PRECISIONS]) & ~curves & ~by_definition
    wanted = single | frame["metric"].isin(HIGHER_AREAS)
    return frame[wanted & (frame["kind"] == "summary") & frame["baseline"].isna()]


def _difference(rows: list[Any]) -> Effect | None:
    """For rows without predictions: shares of images by counts, anything else by intervals; None without intervals.

    An interval of zero width means that a few images happened to agree, not that the value is known.
    """
    counts = [_images(row) for row in rows]
    if rows[0]["metric"] in HIGHER and all(counts):
        hits = [float(row["value"]) * count for row, count in zip(rows, counts, strict=True)]
        if all(abs(number - round(number)) < 1e-6 * max(1.0, number) for number in hits):
            return difference_of_proportions(
                *((round(number), count) for number, count in zip(hits, counts, strict=True))
            )
    if any(not row["ci_high"] > row["ci_low"] for row in rows):
        return None
    base, head = (
        Interval(estimate=row["value"], low=row["ci_low"], high=row["ci_high"], count=count)
        for row, count in zip(rows, counts, strict=True)
    )
    return difference_of_intervals(base, head)


def _images(row: Any) -> int:
    """The number of images behind a row's share; 0 if unknown."""
    counts = [row["num_samples"], row["num_images"]]
    return next((int(count) for count in counts if not pd.isna(count)), 0)


SAME_UNIT = ("analysis", "definition", "model", "run_id", "dataset", "split", "seed", "resolution", "dtype")
TOP = 5
_PREDICTED = {
    "accuracy": lambda table: table["rank"] == 0,
    "accuracy_top5": lambda table: table["rank"] < TOP,
    "nll": lambda table: table["nll"],
    "brier": lambda table: table["brier"],
}
# areas under curves are means over images too, as long as both sides use the same images
_AREAS = {"consistency_auc": "consistency", "accuracy_auc": "accuracy"}


Paired = tuple[NDArray[np.int64], Floats]  # (images, 2) index and label, (images,) values; sorted by index


def paired_predictions(
    rows: Sequence[Mapping[str, Any]], frames: Sequence[pd.DataFrame], folders: Sequence[Path]
) -> tuple[Floats, Floats] | None:
    """`paired` values of the rows' predictions, which are looked up in `frames` and read in `folders`."""
    return paired(rows, [predictions_of(*item) for item in zip(rows, frames, folders, strict=True)])


def predictions_of(row: Mapping[str, Any], frame: pd.DataFrame, folder: Path) -> Paired | None:
    """Images, and the value of each, of which the row's value is the mean; None where they were not kept.

    From `eval --keep-predictions`: accuracy, top-5 accuracy, negative log-likelihood, Brier score. From invariances:
    the areas under the curves of consistency and accuracy. From attacks: accuracy and consistency at each eps. From
    probes: the accuracy of neighbours at each k, and that of the linear classifier.
    """
    read = {"eval": _predicted, "robustness": _attacked, "probe": _probed}.get(row["analysis"], _area)
    return read(row, frame, folder)


def paired(rows: Sequence[Mapping[str, Any]], found: Sequence[Paired | None]) -> tuple[Floats, Floats] | None:
    """(images,) values at base and at head whose means are the rows' values; None if they cannot be paired."""
    base, head = found
    if base is None or head is None or not np.array_equal(base[0], head[0]):
        return None
    values = base[1], head[1]
    # predictions whose mean is not the row's value are not those behind it
    adds_up = all(abs(mine.mean() - row["value"]) < 1e-6 for mine, row in zip(values, rows, strict=True))
    return values if adds_up else None


def known_difference(frame: pd.DataFrame, rows: Sequence[Mapping[str, Any]]) -> Effect | None:
    """The difference of the second row to the first that the store has, paired by image; None without."""
    base, head = rows
    for one, other, sign in ((head, base, 1), (base, head, -1)):
        found = frame[
            (frame["metric"] == f"{one['metric']}_difference")
            & (frame["analysis"] == one["analysis"])
            & (frame["model"] == one["model"])
            & (frame["weights"] == one["weights"])
            & (frame["baseline"] == other["model"])
            & (frame["dataset"] == one["dataset"])
            & (frame["num_images"] == one["num_images"])
            & (frame["ci_high"] > frame["ci_low"])
        ].sort_values("created_utc", kind="stable")
        # of the value of these very rows: the baseline's weights are not among a difference's columns
        found = found[(found["value"] - (one["value"] - other["value"])).abs() < 1e-9]
        if len(found):
            row = found.iloc[-1]
            low, high = sorted((sign * float(row["ci_low"]), sign * float(row["ci_high"])))
            error = (high - low) / (2 * Z)
            count = int(row["num_images"])
            return Effect(estimate=sign * float(row["value"]), error=error, count=count, ends=(low, high))
    return None


def _predicted(row: Mapping[str, Any], frame: pd.DataFrame, folder: Path) -> Paired | None:
    if row["metric"] not in _PREDICTED:
        return None
    kept = frame[(frame["metric"] == "predictions") & frame["artifact"].notna()]
    wanted = tuple(None if pd.isna(row[name]) else row[name] for name in SAME_UNIT)
    for key, artifact in zip(row_keys(kept, SAME_UNIT), kept["artifact"], strict=True):
        if key == wanted:
            try:
                table = pd.read_parquet(folder / artifact).sort_values("index", ignore_index=True)
            except (OSError, ValueError):  # removed or damaged: the intervals are left
                return None
            values = np.asarray(_PREDICTED[row["metric"]](table), dtype=np.float64)
            return table[["index", "label"]].to_numpy(dtype=np.int64), values
    return None


def _probed(row: Mapping[str, Any], frame: pd.DataFrame, folder: Path) -> Paired | None:
    if row["metric"] not in ("knn_accuracy", "linear_accuracy") or pd.isna(row["artifact"]):
        return None
    try:
        with np.load(folder / row["artifact"]) as file:
            predicted = file["linear" if row["metric"] == "linear_accuracy" else f"k{row['level']:.0f}"]
            indices, labels = file["indices"], file["labels"]
    except (OSError, ValueError, KeyError):
        return None
    order = np.argsort(indices, kind="stable")
    return np.stack([indices, labels], axis=1)[order], (predicted == labels).astype(np.float64)[order]


def _attacked(row: Mapping[str, Any], frame: pd.DataFrame, folder: Path) -> Paired | None:
    if row["metric"] not in ("accuracy", "consistency"):
        return None
    same = [name for name in (*SAME_UNIT, "metric", "level") if name != "run_id"]  # a summary may come from a later run
    wanted = tuple(None if pd.isna(row[name]) else row[name] for name in same)
    kept = frame[(frame["kind"] == "raw") & frame["artifact"].notna() & (frame["metric"] == row["metric"])]
    places = dict(zip(row_keys(kept, same), kept["artifact"], strict=True))
    try:
        outcomes = Outcomes.read(folder / places[wanted])
    except (OSError, ValueError, KeyError):
        return None
    correct = outcomes.attacked_at_zero() if row["condition"] == AT_ZERO else dict(outcomes.levels())[row["level"]]
    if correct is None:
        return None
    hits = correct.astype(np.float64)
    # labels that a model predicted itself do not identify images: two versions may differ in them
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
        {float(level) for key, level in zip(row_keys(curve, same), curve["level"], strict=True) if key == wanted}
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
