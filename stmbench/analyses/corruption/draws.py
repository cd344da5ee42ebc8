"""Random numbers that belong to an image: the same in every batch, in every order, and on every device."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

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
