"""Gaussian, shot and impulse noise, and the random numbers of all corruptions.

Random numbers belong to an image: they are the same in every batch, in every order, and on every device. Images are
(B, 3, H, W) float32 in [0, 1]. Noisy ones may leave [0, 1]: `transforms.corrupt` clips.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor


class Draws:
    """A generator for each of B images, seeded by (seed, corruption, severity, the image's place in its set).

    Every method returns the images' draws stacked, (B, *shape), on `device`. They are drawn on the CPU, whose
    generator gives the same numbers on every machine.
    """

    def __init__(
        self,
        corruption: str,
        severity: int,
        indices: Sequence[int],
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self._generators = [_generator(seed, corruption, severity, index) for index in indices]

    def __len__(self) -> int:
        return len(self._generators)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers."""
        return self._stacked(lambda one: torch.randn(shape, generator=one))

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Uniform numbers in [low, high)."""
        return self._stacked(lambda one: torch.rand(shape, generator=one)).mul_(high - low).add_(low)

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """Whole numbers from low to high - 1, int64."""
        return self._stacked(lambda one: torch.randint(low, high, shape, generator=one))

    def poisson(self, rates: Tensor) -> Tensor:
        """Poisson counts, float32, of (B, ...) rates."""
        on_cpu = rates.cpu()
        counts = [torch.poisson(rate, generator=one) for rate, one in zip(on_cpu, self._generators, strict=True)]
        return torch.stack(counts).to(self.device)

    def _stacked(self, draw: Callable[[torch.Generator], Tensor]) -> Tensor:
        return torch.stack([draw(one) for one in self._generators]).to(self.device)


def _generator(*parts: object) -> torch.Generator:
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


DEVIATIONS: Final = ((0.08,), (0.12,), (0.18,), (0.26,), (0.38,))
PHOTONS: Final = ((60.0,), (25.0,), (12.0,), (5.0,), (3.0,))  # of a white element
AMOUNTS: Final = ((0.03,), (0.06,), (0.09,), (0.17,), (0.27,))


def gaussian_noise(images: Tensor, draws: Draws, deviation: float) -> Tensor:
    """x + N(0, deviation^2)."""
    return images + deviation * draws.normal(*images.shape[1:])


def shot_noise(images: Tensor, draws: Draws, photons: float) -> Tensor:
    """Poisson(x photons) / photons."""
    return draws.poisson(images * photons) / photons


def impulse_noise(images: Tensor, draws: Draws, amount: float) -> Tensor:
    """Salt and pepper: with probability `amount` an element becomes 0 or 1, which are as likely."""
    hit = draws.uniform(0, 1, *images.shape[1:]) < amount
    salt = draws.uniform(0, 1, *images.shape[1:]) < 0.5
    return torch.where(hit, salt.to(images.dtype), images)
