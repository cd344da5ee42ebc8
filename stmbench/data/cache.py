"""Decoded images of one set, prepared in one way, kept for the next model that wants them so."""

from __future__ import annotations

import torch
from torch import Tensor

LIMIT = 2**30  # bytes: 7,133 images at 224


class PixelCache:
    """Pixels in [0, 1] that came from 8 bits, kept as such: a quarter of the memory, and exactly the same values back.

    Full, it keeps what it has. Safe to use from several threads.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit, self.used = limit, 0
        self._kept: dict[int, tuple[Tensor, int | None]] = {}

    def get(self, index: int) -> tuple[Tensor, int | None] | None:
        """(pixels, label), or None."""
        found = self._kept.get(index)
        return None if found is None else (found[0].to(torch.float32).div_(255), found[1])

    def put(self, index: int, pixels: Tensor, label: int | None) -> None:
        """Keep an image while there is room for it."""
        size = pixels.numel()
        if index not in self._kept and self.used + size <= self.limit:
            self.used += size
            self._kept[index] = (pixels * 255).round_().to(torch.uint8), label
