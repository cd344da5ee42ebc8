"""The summary rows of a definition, and the maps behind them, read from the files that a table names."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stmbench.figures.plot_data import labels
from stmbench.tables.files import read_arrays
from stmbench.tables.labels import are_random, is_random


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ErfMap:
    """One stage of one model.

    Mean map (H, W), the square's centre (y, x) and side in pixels, and its size.
    """

    label: str
    model: str
    is_untrained: bool
    stage: int
    pixels: NDArray[np.float32]
    centre: tuple[float, float]
    side: float
    value: float
    percent: float


def erf_rows(frame: pd.DataFrame, definition: str) -> pd.DataFrame:
    """The summary rows of one definition, of repeated measurements the newest."""
    chosen = frame[
        (frame["analysis"] == "erf")
        & (frame["definition"] == definition)
        & (frame["kind"] == "summary")
        & frame["value"].notna()
    ]
    newest = chosen.sort_values("created_utc", kind="stable")
    return newest.drop_duplicates(
        ["model", "weights", "stage", "level", "resolution", "dataset"], keep="last"
    ).sort_index()


def beyond_the_image(rows: pd.DataFrame) -> str | None:
    """What a size above 1 means, where `rows` have one; None otherwise."""
    if not (rows["value"] > 1).any():
        return None
    return "A size above 1 is that of a square that reaches beyond the image: its centre is not the image's."


def trainings(frame: pd.DataFrame, definition: str) -> int:
    """The most that one model of the rows has."""
    rows = erf_rows(frame, definition)
    trained = rows[~are_random(rows["weights"])]
    return max(trained.groupby("model")["weights"].nunique(), default=0)


def read_maps(frame: pd.DataFrame, definition: str, folder: Path) -> list[ErfMap]:
    """The maps behind the rows of the smallest percentage, in the table's order.

    Of a model that was trained several times the maps of the first training, as they are those of one network each.
    Those whose file is gone or damaged are left out.
    A definition that is centred on the image has its square there.
    """
    rows = erf_rows(frame, definition)
    rows = rows[rows["level"] == rows["level"].min()].assign(untrained=lambda chosen: are_random(chosen["weights"]))
    who = ["model", "untrained", "stage", "resolution", "dataset"]
    rows = rows.sort_values("weights", kind="stable").drop_duplicates(who).sort_index()
    names, files, maps = labels(frame), dict[str, dict[str, Any]](), []
    settings = [name for name in ("resolution", "dataset") if rows[name].nunique() > 1]
    gradient = "magnitude" if "rectified" not in definition and definition != "authors_code.v1" else "rectified"
    about_image = definition in ("paper.v1", "authors_code.v1")
    for row in rows.to_dict("records"):
        path = folder / str(row["artifact"])
        if str(path) not in files:
            files[str(path)] = read_arrays(path)
        arrays, stage = files[str(path)], int(row["stage"])
        if f"{gradient}_{stage}" not in arrays:
            continue
        pixels = arrays[f"{gradient}_{stage}"]
        height, width = pixels.shape
        centre = (height // 2, width // 2) if about_image else tuple(map(float, arrays[f"centre_{stage}"]))
        maps.append(
            ErfMap(
                label=" · ".join([names[str(row["model"])], *(_words(name, row[name]) for name in settings)]),
                model=str(row["model"]),
                is_untrained=is_random(row["weights"]),
                stage=stage,
                pixels=pixels,
                centre=(float(centre[0]), float(centre[1])),
                side=float(row["value"]) * math.sqrt(height * width),
                value=float(row["value"]),
                percent=float(row["level"]),
            )
        )
    return maps


def _words(setting: str, value: Any) -> str:
    return f"{value} px" if setting == "resolution" else str(value).partition(":")[0]
