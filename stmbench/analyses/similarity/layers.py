"""The maps of a whole minibatch, layer by layer, and what is kept of a model's layers."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stmbench.analyses.feature_maps import Probe, look_at
from stmbench.analyses.loaded_model import LoadedModel
from stmbench.analyses.similarity.measures import Floats, cka_matrix
from stmbench.architectures.feature_extractor import as_pooled
from stmbench.errors import UnitError
from stmbench.tables.files import ArrayFile

HELD: Final = 2**30  # bytes of maps that wait for the rest of their minibatch; further layers take another pass
END: Final = -1  # stage and block of the pooled features, in arrays


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layers(ArrayFile):
    """A model's layers, the pooled features last: their places, and U-centred Gram matrices (L, batches, P)."""

    stages: NDArray[np.int64]
    blocks: NDArray[np.int64]
    indices: NDArray[np.int64]  # of the images, minibatch by minibatch
    grams: Floats


@dataclasses.dataclass(frozen=True, kw_only=True)
class Matrix(ArrayFile):
    """CKA (L, M) of the layers of a model with those of the baseline, or with its own, and their places."""

    cka: Floats
    stages: NDArray[np.int64]
    blocks: NDArray[np.int64]
    other_stages: NDArray[np.int64]
    other_blocks: NDArray[np.int64]

    @classmethod
    def of(cls, layers: Layers, other: Layers) -> Matrix:
        """Of two models, or of one with itself."""
        places = {"stages": layers.stages, "blocks": layers.blocks}
        others = {"other_stages": other.stages, "other_blocks": other.blocks}
        return cls(cka=cka_matrix(layers.grams, other.grams), **places, **others)


def whole_maps(
    loaded: LoadedModel, probes: Sequence[Probe], images: Tensor, at_once: int, *, held: int = HELD
) -> Iterator[tuple[Probe | None, Tensor]]:
    """(probe, (n, C, H, W) its map of all n images) of each, then (None, (n, D)) the pooled features; float32.

    Passes go over `at_once` images. As many layers as fit in `held` bytes, and at least one, are kept until all images
    are through, and then given one after another; the others take another pass.

    Raises:
        UnitError: a module that a pass does not come to.
    """
    left, pooled = list(probes), list[Tensor]()
    while left or not pooled:
        kept, pooled = _pass(loaded, left, images, at_once, held)
        if left and not kept:
            raise UnitError(f"expected a map after {left[0].module}, got none in a pass; choose another model")
        left = [probe for probe in left if probe not in kept]
        for probe in list(kept):
            yield probe, kept.pop(probe)
    yield None, torch.cat(pooled)


def _pass(
    loaded: LoadedModel, probes: Sequence[Probe], images: Tensor, at_once: int, room: int
) -> tuple[dict[Probe, Tensor], list[Tensor]]:
    """The maps of those layers that there is room for, and the pooled features, batch by batch."""
    kept, pooled = dict[Probe, Tensor](), []

    def keep(start: int, probe: Probe, maps: Tensor) -> None:
        nonlocal room
        needed = maps[0].nbytes * len(images)
        if start == 0 and (not kept or needed <= room):
            kept[probe] = torch.empty(len(images), *maps.shape[1:], device=maps.device)
            room -= needed
        if probe in kept:
            kept[probe][start : start + len(maps)] = maps

    for start in range(0, len(images), at_once):
        batch = loaded.input(images[start : start + at_once])
        output = look_at(loaded.model, probes, batch, functools.partial(keep, start))
        pooled.append(as_pooled(output).float())
    return kept, pooled
