"""Points of models and of the blocks of networks, with one label for a model whichever metric they have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import pandas as pd

from stmbench.errors import TableError
from stmbench.figures.plot_data import Point, points, subtitle

WHO: Final = ["model", "weights", "seed", "device", "dtype", "resolution", "dataset"]
EVERYONE: Final = "everyone"  # condition of the rows that only stand for their model
NOWHERE: Final[dict[str, Any]] = {
    "baseline": None,
    "stage": pd.NA,
    "block": pd.NA,
    "level": float("nan"),
    "condition": EVERYONE,
}


class Place(NamedTuple):
    """A block of a network, both from 0, and its point."""

    stage: int
    block: int
    point: Point


def points_of(frame: pd.DataFrame, metric: str, condition: str | None = None) -> list[Point]:
    """The points of a metric, under one condition where it is given; none where the table has none.

    Args:
        frame: all rows of the analysis: a label says in what models differ, whichever of them have this metric.
    """
    rows = frame[(frame["metric"] == metric) & (frame["kind"] == "summary") & frame["value"].notna()]
    rows = rows if condition is None else rows[rows["condition"] == condition]
    return _labelled_alike(rows, frame, metric)


def by_place(frame: pd.DataFrame, metric: str, condition: str) -> dict[str, list[Place]]:
    """Label of a model -> its blocks in order, with their points of one metric."""
    rows = frame[(frame["metric"] == metric) & (frame["condition"] == condition)]
    rows = rows[rows["stage"].notna() & rows["value"].notna()]
    # the place stands in `condition` for a moment: a label then says what the model is, and not which stage
    places = rows["stage"].astype("string") + "." + rows["block"].astype("string")
    rows = rows.assign(condition=places, stage=pd.array([pd.NA] * len(rows), dtype="Int64"))
    by_label: dict[str, list[Place]] = {}
    for point in _labelled_alike(rows, frame, metric):
        stage, block = (int(word) for word in str(point.condition).split("."))
        by_label.setdefault(point.label, []).append(Place(stage, block, point))
    return {label: sorted(of_model, key=lambda place: place[:2]) for label, of_model in by_label.items()}


def _labelled_alike(rows: pd.DataFrame, frame: pd.DataFrame, metric: str) -> list[Point]:
    if rows.empty:
        return []
    everyone = frame[frame["value"].notna()].drop_duplicates(WHO)
    everyone = everyone.assign(metric=metric, kind="summary", definition=rows["definition"].iloc[0], **NOWHERE)
    types = {name: rows[name].dtype for name in NOWHERE}
    together = pd.concat([rows, everyone.astype(types)])
    together.attrs = frame.attrs
    try:
        return [point for point in points(together, metric) if point.condition != EVERYONE]
    except TableError:
        return []


def conditions_of(firsts: Sequence[Point], untrained: bool) -> str:
    """What all points share, in words."""
    data = {str(point.facts["dataset"]).partition(":")[0] for point in firsts}
    images = {point.count for point in firsts}
    words = [subtitle(list(firsts), without=("batch_size",)), *sorted(data)]
    words += [f"{images.pop()} images"] if len(images) == 1 else []
    return " · ".join([word for word in words if word] + (["random init"] if untrained else []))
