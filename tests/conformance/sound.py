"""A mixer that keeps every promise; broken ones change one thing."""

from __future__ import annotations

import dataclasses

from torch import Tensor, nn

from stmbench.mixers.base import Mixer, MixerConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(MixerConfig):
    """Nothing but the channels."""


class Sound(Mixer):
    """A 3x3 depthwise convolution and a projection: keeps every promise. The others change one thing."""

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.conv = nn.Conv2d(config.dim, config.dim, 3, padding=1, groups=config.dim)
        self.proj = nn.Linear(config.dim, config.dim)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.proj(self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        return mixed

    def reference(self, x: Tensor) -> Tensor:
        return Sound.forward(self, x)

    def macs(self, height: int, width: int) -> int:
        return height * width * (9 * self.config.dim + self.config.dim**2)
