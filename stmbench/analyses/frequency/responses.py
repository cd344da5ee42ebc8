"""A model's predictions under many perturbations of the same images, and what they say."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stmbench.analyses.frequency.noise import FrequencyGrid, band_masks, band_noise, fourier_basis
from stmbench.analyses.loaded_model import LoadedModel

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Responses:
    """Of N images under P perturbations: `labels` (-1 where there are none) and `clean` predictions are (N,),
    `predicted` is (P, N)."""

    indices: NDArray[np.int64]
    labels: NDArray[np.int64]
    clean: NDArray[np.int64]
    predicted: NDArray[np.int64]

    @classmethod
    def joined(cls, parts: Sequence[dict[str, Tensor]]) -> Responses:
        """Batches put together."""
        return cls(**{name: torch.cat([part[name] for part in parts], dim=-1).numpy() for name in parts[0]})

    @property
    def is_labelled(self) -> bool:
        """Whether answers can be right."""
        return bool((self.labels >= 0).all())

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """(P, N) whether the prediction is not the label."""
        return np.asarray(self.predicted != self.labels)

    @property
    def changed(self) -> NDArray[np.bool_]:
        """(P, N) whether the prediction is not that of the clean image."""
        return np.asarray(self.predicted != self.clean)

    @property
    def arrays(self) -> dict[str, Any]:
        """What is kept of each image."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def mean_over_grid(found: NDArray[np.bool_], grid: FrequencyGrid) -> Floats:
    """(F, N) answers for each basis vector -> (N,) means over all places of the heat map."""
    times = np.bincount(grid.index.ravel(), minlength=len(grid.vectors))
    return np.asarray(times @ found / times.sum())


def basis_noise(
    grid: FrequencyGrid, size: tuple[int, int], signs: Tensor, norm: float, at_once: int
) -> Iterator[Tensor]:
    """r v U_ij of every basis vector of a grid, in order, `at_once` of them together: (n, B, C, H, W).

    Args:
        signs: (B, F, C) r of each image, vector and channel, on the device that the noise is made on.
    """
    for start in range(0, len(grid.vectors), at_once):
        waves = norm * fourier_basis(grid.vectors[start : start + at_once], *size).to(signs)  # (n, H, W)
        some = signs[:, start : start + at_once].transpose(0, 1)  # (n, B, C)
        yield some[..., None, None] * waves[:, None, None]


def ring_noise(white: Tensor, bands: int, norm: float, at_once: int) -> Iterator[Tensor]:
    """Noise of every band from one white noise (B, C, H, W), `at_once` bands together: (n, B, C, H, W)."""
    height, width = white.shape[2:]
    masks = band_masks(height, width, bands).to(white.device)
    for start in range(0, bands, at_once):
        yield band_noise(white, masks[start : start + at_once], norm)


def respond(subject: LoadedModel, pixels: Tensor, noise: Iterable[Tensor]) -> Tensor:
    """(P, B) classes of the images with each noise added. Pixels are not clipped: that would add frequencies.

    Args:
        pixels: (B, 3, H, W) in [0, 1].
        noise: (n, B, 3, H, W) at a time, P in all.
    """
    found, pixels = [], pixels.to(subject.device)
    for some in noise:
        logits = subject.logits((pixels + some).flatten(0, 1))
        found.append(logits.argmax(1).reshape(len(some), len(pixels)).cpu())
    return torch.cat(found)
