"""Features of images: extracted once, kept as a file, and whether the network has collapsed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stmbench.analyses.loaded_model import LoadedModel
from stmbench.architectures.feature_extractor import as_feature_extractor, pooled
from stmbench.data.loading import Batches
from stmbench.errors import UnitError
from stmbench.tables.files import ArrayFile

COLLAPSED = 0.9999  # mean cosine beyond which all features are alike


@dataclasses.dataclass(frozen=True, kw_only=True)
class Features(ArrayFile):
    """Features of N images of one split, by a network without its head.

    Attributes:
        features: (N, D) float32.
        labels, indices: (N,) int64, the class and the place in the set of each image.
        size: (2,) height and width of the images, in pixels.
    """

    compressed: ClassVar[bool] = False

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    indices: NDArray[np.int64]
    size: NDArray[np.int64]

    @classmethod
    def of(cls, loaded: LoadedModel, batches: Batches, say: Callable[[int], None]) -> Features:
        """Pass the images through the network, whose head is dropped, in place.

        Args:
            say: told how many images are done.

        Raises:
            ConfigError: a network whose classifier is not known, or that gives no pooled features.
            UnitError: features that are not finite.
        """
        model, parts, done = as_feature_extractor(loaded.model), list[tuple[Any, Any, Any]](), 0
        for batch in batches:
            assert batch.labels is not None
            with torch.inference_mode():
                found = pooled(model, loaded.input(batch.images)).float().cpu()
            wrong = int((~found.isfinite()).any(dim=1).sum())
            if wrong:
                got = f"NaN or infinity for {wrong} of the {len(batch)} images in a batch"
                raise UnitError(f"expected finite features, got {got}; the weights have diverged: use others")
            parts.append((found.numpy(), batch.labels.numpy(), np.asarray(batch.indices)))
            done += len(batch)
            say(done)
        features, labels, indices = (np.concatenate(column) for column in zip(*parts, strict=True))
        size = np.array(loaded.preprocessing.size)
        return cls(features=features, labels=labels.astype(np.int64), indices=indices.astype(np.int64), size=size)

    @property
    def mean_cosine(self) -> float:
        """Of all pairs of different images: (|sum of z|^2 - sum of |z|^2) / (N (N - 1)), z of unit length."""
        count = len(self.features)
        if count < 2:
            return 1.0
        total, squares = np.zeros(self.features.shape[1]), 0.0
        for start in range(0, count, 8192):
            part = self.features[start : start + 8192].astype(np.float64)
            part /= np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12)
            total += part.sum(0)
            squares += float(np.square(part).sum())
        return (float(total @ total) - squares) / (count * (count - 1))

    @property
    def collapse(self) -> str | None:
        """Why features cannot tell images apart, where they cannot."""
        if np.array_equal(self.features.min(0), self.features.max(0)):
            return "all features are the same"
        if (cosine := self.mean_cosine) > COLLAPSED:
            return f"the mean cosine of features is {cosine:.6f}, above {COLLAPSED}"
        return None


def shared_classes(bank: Features, queries: Features) -> tuple[Tensor, Tensor, NDArray[np.int64]]:
    """Labels as numbers of the classes that the bank has: (N,), (Q,) with -2 for others, and (C,) the classes."""
    classes, numbers = np.unique(bank.labels, return_inverse=True)
    places = np.searchsorted(classes, queries.labels).clip(max=len(classes) - 1)
    known = np.where(classes[places] == queries.labels, places, -2)
    return torch.from_numpy(numbers.astype(np.int64)), torch.from_numpy(known.astype(np.int64)), classes


def unknown_classes(bank: Features, queries: Features) -> str | None:
    """A sentence on queries of classes that the bank has no image of; None where there are none."""
    unknown = ~np.isin(queries.labels, bank.labels)
    if not unknown.any():
        return None
    classes = np.unique(queries.labels[unknown])
    shown = ", ".join(map(str, classes[:5])) + (", ..." if len(classes) > 5 else "")
    count = f"{unknown.sum()} of {len(unknown)} queries"
    return f"{count} are of classes without an image in the bank ({shown}) and count as wrong"
