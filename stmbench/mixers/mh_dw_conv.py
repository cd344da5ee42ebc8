"""Multi-head depthwise convolution: the channels of a head share their kernel.

Gao et al., "Container", NeurIPS 2021, section 3.3 (MH-DW) and Table 2 (MH-DW-3, heads of 32 channels). For head m,

    Y_m = k_m * V_m,   one K x K kernel k_m,   V = W_v X,   and a projection W_out after it
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from stmbench.errors import require
from stmbench.mixers import presets
from stmbench.mixers.affinity import StencilAffinity, join_heads, map_columns, split_into_heads, square_offsets
from stmbench.mixers.base import BlockPosition, Mixer, MixerConfig, register_mixer
from stmbench.mixers.ops.attention import num_heads
from stmbench.mixers.ops.depthwise import depthwise_conv
from stmbench.mixers.ops.neighbourhood_sums import kernel_sum


@dataclasses.dataclass(frozen=True, kw_only=True)
class MhDwConvConfig(MixerConfig):
    """`heads` kernels of `kernel` x `kernel`; the side is odd, so that there is a centre."""

    heads: int
    kernel: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.heads >= 1 and self.dim % self.heads == 0, f"heads that divide dim {self.dim}", self.heads)
        require(self.kernel >= 1 and self.kernel % 2 == 1, "an odd kernel >= 1", self.kernel)


def config_at(
    position: BlockPosition, *, head_dim: int = 32, heads: int | None = None, kernel: int = 3
) -> MhDwConvConfig:
    """Heads of `head_dim` channels; `heads`, where given, is their number in every stage instead."""
    return MhDwConvConfig(dim=position.dim, heads=num_heads(position.dim, head_dim, heads), kernel=kernel)


@register_mixer(
    "mh_dw_conv",
    config=MhDwConvConfig,
    config_at=config_at,
    title="Multi-Head Depth-Wise Convolution",
    abbreviation="MH-DW",
    family="Convolution",
    sampling="local",
    weights="static",
    method="CONTAINER, Table 2",
    citation="Gao et al., NeurIPS 2021",
    palette_slot=18,
    channel_multiple=32,
    presets=presets.nano(head_dim=16),
)
class MhDwConv(Mixer):
    """(B, H, W, C) -> (B, H, W, C), zero padding outside the map. The bias is one number for each channel."""

    config: MhDwConvConfig

    def __init__(self, config: MhDwConvConfig) -> None:
        super().__init__()
        self.config = config
        self.proj_in = nn.Linear(config.dim, config.dim)
        self.kernels = nn.Parameter(torch.empty(config.heads, 1, config.kernel, config.kernel))
        self.bias = nn.Parameter(torch.zeros(config.dim))
        self.proj_out = nn.Linear(config.dim, config.dim)
        nn.init.trunc_normal_(self.kernels, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        shared = self.config.dim // self.config.heads
        weight = self.kernels.repeat_interleave(shared, dim=0)  # C, 1, K, K: nothing is unfolded
        y: Tensor = self.proj_out(depthwise_conv(self.proj_in(x), weight, self.bias))
        return y

    def reference(self, x: Tensor) -> Tensor:
        """The same map, head by head, as sums over the taps."""
        parts = self.proj_in(x).chunk(self.config.heads, dim=-1)
        pairs = zip(parts, self.kernels, strict=True)
        mixed = [kernel_sum(part, kernel.expand(part.shape[-1], -1, -1)) for part, kernel in pairs]
        y: Tensor = self.proj_out(torch.cat(mixed, dim=-1) + self.bias)
        return y

    def affinity(self, x: Tensor) -> StencilAffinity:
        """(B, H, W, C) -> (B, heads, H * W, H * W)."""
        batch, height, width, _ = x.shape
        return StencilAffinity(
            self.kernels.view(1, self.config.heads, 1, -1),
            square_offsets(self.config.kernel, x.device),
            map_columns(height, width, device=x.device),
            kind="static",
            batch=batch,
        )

    def values(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, heads, H * W, d)."""
        return split_into_heads(self.proj_in(x), self.config.heads)

    def project(self, mixed: Tensor, height: int, width: int) -> Tensor:
        """(B, heads, H * W, d) -> (B, H, W, C). The bias is added here: it belongs to no column."""
        y: Tensor = self.proj_out(join_heads(mixed, height, width) + self.bias)
        return y

    def macs(self, height: int, width: int) -> int:
        """2 N C^2 for the projections and N K^2 C for the convolution."""
        return height * width * self.config.dim * (2 * self.config.dim + self.config.kernel**2)
