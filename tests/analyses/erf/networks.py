"""Networks whose receptive fields are known."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Staged(nn.Module):
    """Modules in a row, each a stage, with the names that analyses look for."""

    def __init__(self, *stages: nn.Module) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.feature_info = [{"num_chs": 1, "reduction": 4, "module": f"stages.{i}"} for i in range(len(stages))]

    def forward(self, x: Tensor) -> Tensor:
        for stage in self.stages:
            x = stage(x)
        return x


class Shifted(nn.Module):
    """Output (y, x) is input (y - dy, x - dx), around the edges."""

    def __init__(self, dy: int, dx: int) -> None:
        super().__init__()
        self.shift = (dy, dx)

    def forward(self, x: Tensor) -> Tensor:
        return x.roll(self.shift, (2, 3))


class Forbidden(nn.Module):
    """A stage that must not be run."""

    def forward(self, x: Tensor) -> Tensor:
        raise AssertionError("the forward pass went on")


def averaging(
    channels: int, kernel: int, *, stride: int = 1, padding: int | None = None, gain: float = 1.0
) -> nn.Conv2d:
    """A convolution to one channel, all of whose weights are equal."""
    wide = kernel // 2 if padding is None else padding
    conv = nn.Conv2d(channels, 1, kernel, stride=stride, padding=wide, bias=False)
    nn.init.constant_(conv.weight, gain / (channels * kernel**2))
    return conv


def stack(count: int, kernel: int, gain: float = 1.0) -> Staged:
    """One stage of `count` averaging convolutions."""
    layers = [averaging(3 if i == 0 else 1, kernel, gain=gain if i == 0 else 1.0) for i in range(count)]
    return Staged(nn.Sequential(*layers))


def positive(count: int, side: int) -> Tensor:
    """(count, 3, side, side) images in [0.5, 1.5]."""
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0)) + 0.5
