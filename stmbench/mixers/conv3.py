"""A full K x K convolution between two projections: Conv-3 of Gao et al., "Container", NeurIPS 2021, Table 2.

    Y = W_out (k * (W_in X)),   k: C x C x K x K

It mixes channels and positions at once, so it has no affinity (Table 2: N/A). `group_conv3` is the same in groups.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from stmbench.errors import require
from stmbench.mixers.base import BlockPosition, Mixer, MixerConfig, register_mixer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conv3Config(MixerConfig):
    """A `kernel` x `kernel` convolution (odd) in `groups` groups of channels."""

    kernel: int = 3
    groups: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.kernel >= 1 and self.kernel % 2 == 1, "an odd kernel >= 1", self.kernel)
        require(self.groups >= 1 and self.dim % self.groups == 0, f"groups that divide dim {self.dim}", self.groups)


def config_at(position: BlockPosition, *, kernel: int = 3) -> Conv3Config:
    """The same kernel size everywhere."""
    return Conv3Config(dim=position.dim, kernel=kernel)


@register_mixer(
    "conv3",
    config=Conv3Config,
    config_at=config_at,
    title="Convolution 3 x 3",
    abbreviation="Conv-3",
    family="Convolution",
    sampling="local",
    weights="static",
    mixing_weights=("-", "-"),
    method="CONTAINER, Table 2",
    citation="Gao et al., NeurIPS 2021",
    palette_slot=6,
)
class Conv3(Mixer):
    """(B, H, W, C) -> (B, H, W, C), zero padding outside the map."""

    config: Conv3Config

    def __init__(self, config: Conv3Config) -> None:
        super().__init__()
        self.config = config
        dim, side = config.dim, config.kernel
        self.proj_in = nn.Linear(dim, dim)
        self.conv = nn.Conv2d(dim, dim, side, padding=side // 2, groups=config.groups)
        self.proj_out = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        y: Tensor = self.proj_out(self.conv(self.proj_in(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1))  # views: no copy
        return y

    def reference(self, x: Tensor) -> Tensor:
        """The same map, tap by tap: each tap is a matrix for the channels of each group."""
        (height, width), radius, groups = x.shape[1:3], self.config.kernel // 2, self.config.groups
        padded = nn.functional.pad(self.proj_in(x), (0, 0, radius, radius, radius, radius))
        assert self.conv.bias is not None
        y = torch.zeros_like(x) + self.conv.bias
        for i in range(self.config.kernel):
            for j in range(self.config.kernel):
                shifted = padded[:, i : i + height, j : j + width].chunk(groups, dim=-1)
                weights = self.conv.weight[:, :, i, j].chunk(groups)
                y = y + torch.cat([part @ weight.T for part, weight in zip(shifted, weights, strict=True)], dim=-1)
        mixed: Tensor = self.proj_out(y)
        return mixed

    def macs(self, height: int, width: int) -> int:
        """2 N C^2 for the projections and N K^2 C^2 / groups for the convolution."""
        groups, side = self.config.groups, self.config.kernel
        return height * width * self.config.dim**2 * (2 * groups + side**2) // groups


def group_conv3_at(position: BlockPosition, *, kernel: int = 3, groups: int = 8) -> Conv3Config:
    """The same kernel size and number of groups everywhere."""
    return Conv3Config(dim=position.dim, kernel=kernel, groups=groups)


@register_mixer(
    "group_conv3",
    config=Conv3Config,
    config_at=group_conv3_at,
    title="Group Convolution 3 x 3",
    abbreviation="Group Conv-3",
    family="Convolution",
    sampling="local",
    weights="static",
    mixing_weights=("-", "-"),
    method="CONTAINER, Table 2",
    citation="Gao et al., NeurIPS 2021",
    palette_slot=16,
    channel_multiple=8,
)
class GroupConv3(Conv3):
    """(B, H, W, C) -> (B, H, W, C), zero padding outside the map."""
