"""Average pooling as a mixer: MetaFormer's control without parameters.

Yu et al., "MetaFormer Is Actually What You Need for Vision", CVPR 2022, eq. 4 and algorithm 1:

    Y = AvgPool_K(X) - X

Means are over the part of the window that is on the map; X is subtracted because the block's residual adds it.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor

from stmbench.errors import require
from stmbench.mixers.affinity import StencilAffinity, join_heads, map_columns, split_into_heads, square_offsets
from stmbench.mixers.base import Mixer, MixerConfig, register_mixer


@dataclasses.dataclass(frozen=True, kw_only=True)
class PoolingConfig(MixerConfig):
    """A `kernel` x `kernel` window (odd, at least 3)."""

    kernel: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.kernel >= 3 and self.kernel % 2 == 1, "an odd kernel >= 3", self.kernel)


@register_mixer(
    "pooling",
    config=PoolingConfig,
    title="Average Pooling",
    abbreviation="Pooling",
    family="Control",
    sampling="local",
    weights="static",
    method="PoolFormer",
    palette_slot=7,
    citation="Yu et al., CVPR 2022",
)
class Pooling(Mixer):
    """(B, H, W, C) -> (B, H, W, C). It has no parameters, and pooling is no multiply-add."""

    config: PoolingConfig

    def __init__(self, config: PoolingConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        side = self.config.kernel
        image = x.permute(0, 3, 1, 2)  # a channels-last view: no copy
        means = F.avg_pool2d(image, side, stride=1, padding=side // 2, count_include_pad=False)
        return means.permute(0, 2, 3, 1) - x

    def reference(self, x: Tensor) -> Tensor:
        """The same map, place by place."""
        radius = self.config.kernel // 2
        y = torch.empty_like(x)
        for i in range(x.shape[1]):
            for j in range(x.shape[2]):
                window = x[:, max(i - radius, 0) : i + radius + 1, max(j - radius, 0) : j + radius + 1]
                y[:, i, j] = window.mean((1, 2)) - x[:, i, j]
        return y

    def affinity(self, x: Tensor) -> StencilAffinity:
        """(B, H, W, C) -> (B, 1, H * W, H * W): 1 / (places on the map) for each tap, less 1 at the centre."""
        batch, height, width, _ = x.shape
        offsets, columns = square_offsets(self.config.kernel, x.device), map_columns(height, width, device=x.device)
        ones = x.new_ones(1, 1, height, width)
        radius = self.config.kernel // 2
        y, x_ = (torch.arange(size, device=x.device) for size in (height, width))
        rows = (y + radius).clamp(max=height - 1) - (y - radius).clamp(min=0) + 1
        across = (x_ + radius).clamp(max=width - 1) - (x_ - radius).clamp(min=0) + 1
        share = (ones / (rows[:, None] * across)).view(1, 1, -1, 1)  # 1, 1, N, 1
        centre = (offsets == 0).all(dim=1).to(x.dtype)
        return StencilAffinity(share - centre, offsets, columns, kind="static", batch=batch)

    def values(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, 1, H * W, C)."""
        return split_into_heads(x, 1)

    def project(self, mixed: Tensor, height: int, width: int) -> Tensor:
        """(B, 1, H * W, C) -> (B, H, W, C)."""
        return join_heads(mixed, height, width)

    def macs(self, height: int, width: int) -> int:
        """None: pooling is not counted."""
        return 0
