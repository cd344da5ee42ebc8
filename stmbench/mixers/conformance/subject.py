"""What a check looks at: a registry entry, built at the places of a micro model, and inputs for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor, nn

from stmbench.mixers.base import MixerConfig, MixerEntry, Site

Count = Callable[[nn.Module, tuple[int, int, int]], int]  # multiply-adds for one image of shape (H, W, C)
SCALE = "micro"
DESIGN_MAPS = (56, 28, 14, 7)  # side of the map of every stage at 224 x 224
SMALLEST_MAPS = (8, 4, 2, 1)  # and at 32 x 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """An entry under examination. `count` may be None: the MAC formula is then not compared."""

    entry: MixerEntry
    count: Count | None = None

    def site(self, stage: int = 2, block: int = 1) -> Site:
        """A place in the mixer's micro network."""
        side = DESIGN_MAPS[stage]
        dim = self.entry.preset(SCALE).dims[stage]
        multiple = self.entry.channel_multiple
        return Site(stage=stage, block=block, dim=-(-dim // multiple) * multiple, resolution=(side, side))

    def config(self, stage: int = 2, block: int = 1) -> MixerConfig:
        """The config of that place."""
        return self.entry.config_at(self.site(stage, block), **self.entry.preset(SCALE).options)

    def module(self, stage: int = 2, block: int = 1, *, dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.Module:
        """The mixer of that place in eval mode, its weights moved off their start by normal noise (sd 0.05)."""
        torch.manual_seed(seed)
        module = self.entry.build(self.site(stage, block), **self.entry.preset(SCALE).options).to(dtype)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        return module.eval()

    def images(
        self,
        batch: int = 2,
        size: tuple[int, int] = (14, 14),
        stage: int = 2,
        *,
        dtype: torch.dtype = torch.float64,
        seed: int = 1,
    ) -> Tensor:
        """(batch, *size, C) of normal noise, with a level of its own for each channel of each image."""
        torch.manual_seed(seed)
        dim = self.site(stage).dim
        # the levels keep a pooled unit behind a ReLU from being dead for a whole batch by chance
        return (torch.randn(batch, *size, dim) + torch.randn(batch, 1, 1, dim)).to(dtype)
