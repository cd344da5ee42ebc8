"""Depthwise convolution between two linear projections.

Liu et al., "A ConvNet for the 2020s", CVPR 2022, section 2.5, and Han et al., "On the Connection between Local
Attention and Dynamic Depth-wise Convolution", ICLR 2022; the projections are those of Hu et al., section 3.2.1:

    Y = W_out (k * (W_in X)),   one K x K kernel k for each channel
"""

from __future__ import annotations

import dataclasses

from torch import Tensor, nn

from stmbench.errors import require
from stmbench.mixers.affinity import StencilAffinity, join_heads, map_columns, split_into_heads, square_offsets
from stmbench.mixers.base import BlockPosition, Mixer, MixerConfig, Preset, register_mixer
from stmbench.mixers.ops.depthwise import DepthwiseConv
from stmbench.mixers.ops.neighbourhood_sums import kernel_sum


@dataclasses.dataclass(frozen=True, kw_only=True)
class DwConvConfig(MixerConfig):
    """A `kernel` x `kernel` depthwise convolution; the kernel's side is odd, so that it has a centre."""

    kernel: int = 7

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.kernel >= 1 and self.kernel % 2 == 1, "an odd kernel >= 1", self.kernel)


def config_at(position: BlockPosition, *, kernel: int = 7) -> DwConvConfig:
    """The same kernel size everywhere."""
    return DwConvConfig(dim=position.dim, kernel=kernel)


def _presets() -> dict[str, Preset]:
    wide = (96, 192, 384, 768)
    return {
        "nano": Preset(dims=(16, 32, 64, 128), depths=(2, 2, 2, 2), options={"kernel": 5}),
        "micro": Preset(dims=(32, 64, 128, 256), depths=(3, 3, 8, 3)),
        "tiny": Preset(dims=wide, depths=(2, 2, 9, 2), drop_path=0.1),
        "small": Preset(dims=wide, depths=(2, 2, 24, 2), drop_path=0.4),
        "base": Preset(dims=(128, 256, 512, 1024), depths=(2, 2, 24, 2), drop_path=0.5),
    }


@register_mixer(
    "dw_conv",
    config=DwConvConfig,
    config_at=config_at,
    title="Depth-Wise Convolution",
    abbreviation="DW-Conv",
    family="Convolution",
    sampling="local",
    weights="static",
    method="ConvNeXt, DWNet",
    citation="Liu et al., CVPR 2022; Han et al., ICLR 2022",
    palette_slot=3,
    presets=_presets(),
    published_convention=frozenset({"conv", "linear"}),
)
class DwConv(Mixer):
    """(B, H, W, C) -> (B, H, W, C), zero padding outside the map."""

    config: DwConvConfig

    def __init__(self, config: DwConvConfig) -> None:
        super().__init__()
        self.config = config
        self.proj_in = nn.Linear(config.dim, config.dim)
        self.conv = DepthwiseConv(config.dim, config.kernel)
        self.proj_out = nn.Linear(config.dim, config.dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        mixed: Tensor = self.proj_out(self.conv(self.proj_in(x)))
        return mixed

    def reference(self, x: Tensor) -> Tensor:
        """The same map as a sum over the kernel's taps of shifted maps."""
        assert self.conv.bias is not None
        mixed: Tensor = self.proj_out(kernel_sum(self.proj_in(x), self.conv.weight[:, 0]) + self.conv.bias)
        return mixed

    def affinity(self, x: Tensor) -> StencilAffinity:
        """(B, H, W, C) -> (B, C, H * W, H * W): every channel is a head, its kernel the weights."""
        batch, height, width, dim = x.shape
        return StencilAffinity(
            self.conv.weight.view(1, dim, 1, -1),
            square_offsets(self.config.kernel, x.device),
            map_columns(height, width, device=x.device),
            kind="static",
            batch=batch,
        )

    def values(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, C, H * W, 1)."""
        return split_into_heads(self.proj_in(x), self.config.dim)

    def project(self, mixed: Tensor, height: int, width: int) -> Tensor:
        """(B, C, H * W, 1) -> (B, H, W, C). The kernel's bias is added here: it belongs to no column."""
        assert self.conv.bias is not None
        projected: Tensor = self.proj_out(join_heads(mixed, height, width) + self.conv.bias)
        return projected

    def macs(self, height: int, width: int) -> int:
        """2 N C^2 for the projections and N K^2 C for the convolution."""
        return height * width * self.config.dim * (2 * self.config.dim + self.config.kernel**2)
