"""The maps of models, read from the files that a table names, as panels to be drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stmbench.figures.plot_data import labels
from stmbench.tables.files import read_arrays
from stmbench.tables.labels import is_random

Floats = NDArray[np.float64]
Arrays = Mapping[str, NDArray[Any]]
FEWEST: Final = 4  # tokens: a map of 2 x 2 or less shows nothing of where a mixer looks
MEAN: Final = -1  # in place of a head's number
PARTS: Final = ("whole", "static", "dynamic", "jacobian")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Panel:
    """One row of an affinity, laid out on the input's map.

    Attributes:
        weights: (H, W): share of the weight, or a head's signed weight; a reduced token's is spread over its patch.
        padding: share of the row's absolute weight that lies on padding.
        y, x: the output position, in tokens of the map.
        position: its number on the output's map.
        picture: (H', W', 3) uint8, of the image; None for the mean over several.
        is_reduced: whether a column stands for a patch of several tokens.
    """

    weights: Floats
    padding: float
    y: float
    x: float
    position: int
    picture: NDArray[np.uint8] | None
    is_reduced: bool
    step: tuple[float, float]  # tokens of the map for one output position, down and across

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the map."""
        return self.weights.shape[0], self.weights.shape[1]

    @property
    def is_signed(self) -> bool:
        """Whether a weight is negative."""
        return bool((self.weights < 0).any())


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Strip:
    """The panels of one layer, part, head and image: one for each position."""

    stage: int
    block: int
    part: str
    head: int
    image: int | None
    size: tuple[int, int]  # of the output's map
    panels: tuple[Panel, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ModelMaps:
    """What is drawn of one model; `words` are a heading's conditions."""

    name: str
    label: str
    words: str
    is_untrained: bool
    strips: tuple[Strip, ...]


def read_maps(frame: pd.DataFrame, folder: Path) -> list[ModelMaps]:
    """The models of a table whose maps are in the store, in the table's order."""
    rows = frame[(frame["metric"] == "affinity_map") & frame["artifact"].notna()]
    names = labels(frame)
    found = []
    for (model, artifact), group in rows.groupby(["model", "artifact"], sort=False):
        arrays = read_arrays(folder / str(artifact))
        if not arrays:
            continue
        first = group.iloc[0]
        random = is_random(first["weights"])
        label = names[str(model)]
        found.append(
            ModelMaps(
                name=str(model),
                label=label,
                words=_words(group, random),
                is_untrained=random,
                strips=_strips(arrays),
            )
        )
    return found


def of_size(models: list[ModelMaps]) -> tuple[list[ModelMaps], list[tuple[int, int]]]:
    """The models with the layers whose map is larger than FEWEST tokens, and the sizes of those that are not."""
    small = sorted({strip.size for model in models for strip in model.strips if _is_small(strip)})
    kept = [
        dataclasses.replace(model, strips=tuple(strip for strip in model.strips if not _is_small(strip)))
        for model in models
    ]
    return [model for model in kept if model.strips], small


def _is_small(strip: Strip) -> bool:
    return strip.size[0] * strip.size[1] <= FEWEST


def _words(group: pd.DataFrame, random: bool) -> str:
    first = group.iloc[0]
    words = [str(first["scale"])] if not pd.isna(first["scale"]) else []
    words += [f"{first['resolution']} px"] if not pd.isna(first["resolution"]) else []
    words.append(str(first["dataset"]).partition(":")[0])
    words.append(f"{first['num_images']} image{'s' if first['num_images'] > 1 else ''}")
    if str(first["condition"]).startswith("jacobian"):
        words.append("Jacobian")
    return " · ".join([*words, *(["random init"] if random else [])])


def _strips(arrays: Arrays) -> tuple[Strip, ...]:
    layers = sorted({int(name.partition(".")[0].removeprefix("layer")) for name in arrays if name.startswith("layer")})
    return tuple(
        strip
        for layer in layers
        for part in PARTS
        if f"layer{layer}.{part}" in arrays
        for strip in _of_layer(arrays, f"layer{layer}", part)
    )


def _of_layer(arrays: Arrays, layer: str, part: str) -> list[Strip]:
    weights = arrays[f"{layer}.{part}"].astype(np.float64)  # images or 1, heads, P, N
    stage, block = map(int, arrays[f"{layer}.place"])
    height, width = map(int, arrays[f"{layer}.output"])
    pictures = arrays.get("images")
    count = 1 if pictures is None else len(pictures)
    found = []
    for image in range(count):
        for number, head in enumerate(arrays[f"{layer}.heads"]):
            rows = weights[min(image, len(weights) - 1), number]
            picture = None if pictures is None else pictures[image]
            panels = [
                _panel(arrays, layer, row, int(position), (height, width), picture)
                for row, position in zip(rows, arrays[f"{layer}.positions"], strict=True)
            ]
            found.append(
                Strip(
                    stage=stage,
                    block=block,
                    part=part,
                    head=int(head),
                    image=None if pictures is None else image,
                    size=(height, width),
                    panels=tuple(panels),
                )
            )
    return found


def _panel(
    arrays: Arrays, layer: str, row: Floats, position: int, output: tuple[int, int], picture: NDArray[np.uint8] | None
) -> Panel:
    height, width = map(int, arrays[f"{layer}.map"])
    padding = arrays[f"{layer}.padding"]
    total = np.abs(row).sum()
    boxes = arrays[f"{layer}.boxes"][~padding]
    y, x = divmod(position, output[1])
    return Panel(
        weights=spread(row[~padding], boxes, (height, width)),
        is_reduced=bool(((boxes[:, 2:] - boxes[:, :2]) > 1).any()),
        padding=float(np.abs(row[padding]).sum() / total) if total else 0.0,
        y=(y + 0.5) * height / output[0] - 0.5,
        x=(x + 0.5) * width / output[1] - 0.5,
        position=position,
        picture=picture,
        step=(height / output[0], width / output[1]),
    )


def spread(weights: Floats, boxes: NDArray[np.int64], size: tuple[int, int]) -> Floats:
    """Weights (N,) of value tokens, each spread evenly over its box (top, left, bottom, right), on a map (H, W)."""
    found = np.zeros(size)
    for weight, (top, left, bottom, right) in zip(weights, boxes, strict=True):
        found[top:bottom, left:right] += weight / max((bottom - top) * (right - left), 1)
    return found
