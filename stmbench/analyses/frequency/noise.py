"""Noise of one frequency or of a band of them (Yin et al. 2019, sections 2 and 4), and predictions under it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stmbench.analyses.loaded_model import LoadedModel
from stmbench.errors import UnitError

Integers = NDArray[np.int64]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FrequencyGrid:
    """The frequencies of a heat map, in cycles per image, 0 in the middle.

    Attributes:
        rows, columns: (R,) and (S,) vertical and horizontal frequencies, ascending.
        vectors: (F, 2) the frequencies whose basis vectors differ: a real vector serves (i, j) and (-i, -j).
        index: (R, S) which of `vectors` stands at each place of the map.
    """

    rows: Integers
    columns: Integers
    vectors: Integers
    index: Integers

    @classmethod
    def of(cls, height: int, width: int, grid: int, max_frequency: int | None = None) -> FrequencyGrid:
        """A grid of at most grid x grid frequencies for images of height x width.

        Args:
            grid: an odd number; an image that has fewer frequencies gets each of its own once.
            max_frequency: the highest on each axis; None, and whatever is higher, is the Nyquist frequency.
        """
        rows, columns = (_axis(side, grid, max_frequency) for side in (height, width))
        numbers: dict[tuple[int, int], int] = {}
        index = np.empty((len(rows), len(columns)), dtype=np.int64)
        for place, (i, j) in enumerate((int(i), int(j)) for i in rows for j in columns):
            same = min((i % height, j % width), (-i % height, -j % width))
            index.flat[place] = numbers.setdefault(same, len(numbers))
        return cls(rows=rows, columns=columns, vectors=np.array(list(numbers), dtype=np.int64), index=index)


def _axis(side: int, grid: int, max_frequency: int | None) -> Integers:
    highest = side // 2 if max_frequency is None else min(max_frequency, side // 2)
    half = np.unique(np.round(np.linspace(0, highest, grid // 2 + 1)).astype(np.int64))
    return np.concatenate([-half[:0:-1], half])


def fourier_basis(vectors: Integers, height: int, width: int) -> Tensor:
    """(F, 2) frequencies in cycles per image -> (F, H, W) float32 basis vectors U_ij.

    Real, of l2 norm 1, and with no Fourier coefficient but those at (i, j) and (-i, -j): a cosine of phase 0.
    """
    i, j = torch.as_tensor(vectors, dtype=torch.int64).unbind(1)
    # whole turns are dropped in integers, so that angles are exact at any frequency
    y, x = torch.arange(height), torch.arange(width)
    down = 2 * torch.pi * (i[:, None] * y % height).double() / height  # (F, H)
    across = 2 * torch.pi * (j[:, None] * x % width).double() / width  # (F, W)
    # cos(a + b) as two outer products
    waves: Tensor = down.cos()[:, :, None] * across.cos()[:, None, :]
    waves -= down.sin()[:, :, None] * across.sin()[:, None, :]
    waves /= waves.square().sum((1, 2), keepdim=True).sqrt()
    return waves.float()


def random_signs(seed: int, indices: Sequence[int], count: int, channels: int = 3) -> Tensor:
    """(B, count, channels) float32 of -1 and 1: those of an image depend on the seed and its place in the set alone."""
    drawn = [np.random.default_rng([seed, index]).integers(0, 2, (count, channels)) for index in indices]
    return torch.from_numpy(2.0 * np.stack(drawn) - 1).float()


def band_edges(bands: int) -> list[tuple[float, float]]:
    """(low, high) of each ring, normalised frequencies in units of pi."""
    edges = np.linspace(0, 1, bands + 1)
    return [(float(low), float(high)) for low, high in itertools.pairwise(edges)]


def band_masks(height: int, width: int, bands: int) -> Tensor:
    """(bands, H, W // 2 + 1) booleans: the bins of the half plane with low < radius <= high.

    The radius is the length of the normalised frequency (2 i / H, 2 j / W): the rings are of whole circles, the corners
    of the plane and frequency 0 are in none.

    Raises:
        UnitError: a ring without a bin.
    """
    y = 2 * torch.fft.fftfreq(height, dtype=torch.float64)[:, None]
    x = 2 * torch.fft.rfftfreq(width, dtype=torch.float64)[None, :]
    radius = (y.square() + x.square()).sqrt()
    masks = torch.stack([(radius > low) & (radius <= high) for low, high in band_edges(bands)])
    empty = [number + 1 for number, mask in enumerate(masks) if not bool(mask.any())]
    if empty:
        raise UnitError(f"band {empty[0]} of {bands} has no frequency at {height}x{width} px; use fewer --bands")
    return masks


def white_noise(seed: int, indices: Sequence[int], height: int, width: int, channels: int = 3) -> Tensor:
    """(B, C, H, W) float32, standard normal; that of an image depends on the seed and its place in the set alone."""
    shape = (channels, height, width)
    drawn = [np.random.default_rng([seed, index, 1]).standard_normal(shape, dtype=np.float32) for index in indices]
    return torch.from_numpy(np.stack(drawn))


def band_noise(white: Tensor, masks: Tensor, norm: float) -> Tensor:
    """The part of white noise in each band, scaled to an l2 norm of `norm` in each channel.

    (B, C, H, W) and (bands, H, W // 2 + 1) masks -> (bands, B, C, H, W).
    """
    spectrum = torch.fft.rfft2(white)
    bands: Tensor = torch.fft.irfft2(spectrum * masks[:, None, None], s=white.shape[2:])
    bands *= norm / bands.square().sum((-2, -1), keepdim=True).sqrt()
    return bands


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


def respond(loaded: LoadedModel, pixels: Tensor, noise: Iterable[Tensor]) -> Tensor:
    """(P, B) classes of the images with each noise added. Pixels are not clipped: that would add frequencies.

    Args:
        pixels: (B, 3, H, W) in [0, 1].
        noise: (n, B, 3, H, W) at a time, P in all.
    """
    found, pixels = [], pixels.to(loaded.device)
    for some in noise:
        logits = loaded.logits((pixels + some).flatten(0, 1))
        found.append(logits.argmax(1).reshape(len(some), len(pixels)).cpu())
    return torch.cat(found)
