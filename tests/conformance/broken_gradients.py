"""Mixers without a gradient, or with one that is not finite; and one that has all of it at the design size only."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.conformance.sound import Config, Sound


class DeadParameter(Sound):
    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.unused = nn.Parameter(torch.zeros(config.dim))


class DeadThird(Sound):
    """One element of a parameter is never used."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.gain = nn.Parameter(torch.ones(config.dim + 1))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.gain[:-1]

    def reference(self, x: Tensor) -> Tensor:
        return self.forward(x)


class InfiniteGradient(Sound):
    """The square root of exactly zero: a fine value, and no slope."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.gain = nn.Parameter(torch.ones(config.dim))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + (self.gain - self.gain).abs().sqrt() * self.gain

    def reference(self, x: Tensor) -> Tensor:
        return self.forward(x)


class TableOfTheDesignSize(Sound):
    """An entry for each place of the design map: a smaller map would leave most of it without a gradient."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.side = {32: 56, 64: 28, 128: 14, 256: 7}[config.dim]
        self.table = nn.Parameter(torch.zeros(self.side, self.side, 1))

    def forward(self, x: Tensor) -> Tensor:
        below, right = (max(0, size - self.side) for size in x.shape[1:3])
        table = nn.functional.pad(self.table, (0, 0, 0, right, 0, below))
        return super().forward(x) + table[: x.shape[1], : x.shape[2]]

    def reference(self, x: Tensor) -> Tensor:
        return self.forward(x)


class CutFromItsInput(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.detach())


class UsesTheLastGraph(Sound):
    """Adds nothing, but from the graph of the step before."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.last: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        if torch.is_grad_enabled():
            y = y if self.last is None else y + 0 * self.last
            self.last = y.mean()
        return y
