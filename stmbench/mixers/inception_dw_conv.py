"""Depthwise convolutions with four shapes of kernel, each for a part of the channels.

Yu et al., "InceptionNeXt: When Inception Meets ConvNeXt", CVPR 2024, section 3.2 and algorithm 1. The channels are
split into C - 3 g, g, g, g with g = floor(C / 8), and

    Y = (X_1, k_hw * X_2, k_w * X_3, k_h * X_4),   kernels 3 x 3, 1 x 11 (along the width) and 11 x 1 (along the height)

The first part is left as it is. There are no projections: channels never meet.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.errors import require
from stmbench.kernels.branches import branches
from stmbench.kernels.setting import can_run_in
from stmbench.mixers import presets
from stmbench.mixers.affinity import StencilAffinity, join_heads, map_columns, split_into_heads, square_offsets
from stmbench.mixers.base import Mixer, MixerConfig, register_mixer
from stmbench.mixers.ops import needs_gradient
from stmbench.mixers.ops.depthwise import HAS_AVX512, WIDE
from stmbench.mixers.ops.neighbourhood_sums import kernel_sum

PUBLISHED = {"dwconv_hw": "square", "dwconv_w": "row", "dwconv_h": "column"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class InceptionDwConvConfig(MixerConfig):
    """Sides of the square kernel and of the two bands (odd); `ratio` is the fraction of the channels in each branch."""

    square: int = 3
    band: int = 11
    ratio: float = 0.125

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.square >= 1 and self.square % 2 == 1, "an odd square >= 1", self.square)
        require(self.band >= 1 and self.band % 2 == 1, "an odd band >= 1", self.band)
        require(0 < self.ratio <= 1 / 3, "0 < ratio <= 1/3: there are three branches", self.ratio)
        require(self.branch >= 1, f"dim x ratio >= 1, with a ratio of {self.ratio:g}", self.dim, "use more channels")

    @property
    def branch(self) -> int:
        """g, the channels of each of the three convolutions."""
        return int(self.dim * self.ratio)


@register_mixer(
    "inception_dw_conv",
    config=InceptionDwConvConfig,
    title="Inception Depth-Wise Convolution",
    abbreviation="Inception-DW",
    family="Convolution",
    sampling="local",
    weights="static",
    method="InceptionNeXt",
    citation="Yu et al., CVPR 2024",
    palette_slot=39,
    presets=presets.matched((2, 2, 9, 2), (2, 2, 6, 2), micro_dims=(44, 88, 176, 352), tiny_dims=(120, 240, 480, 960)),
    layouts=presets.tiny_layout((96, 192, 384, 768), (3, 3, 9, 3), (4, 4, 4, 3)),
)
class InceptionDwConv(Mixer):
    """(B, H, W, C) -> (B, H, W, C), zero padding outside the map."""

    config: InceptionDwConvConfig

    def __init__(self, config: InceptionDwConvConfig) -> None:
        super().__init__()
        self.config = config
        g, square, band = config.branch, config.square, config.band
        self.square = nn.Conv2d(g, g, square, padding=square // 2, groups=g)
        self.row = nn.Conv2d(g, g, (1, band), padding=(0, band // 2), groups=g)
        self.column = nn.Conv2d(g, g, (band, 1), padding=(band // 2, 0), groups=g)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        g = self.config.branch
        convolutions = (self.square, self.row, self.column)
        if can_run_in(x, self.square.weight) and not _is_faster_by_onednn(x, self.square.weight):
            taps = torch.cat([each.weight.flatten() for each in convolutions])
            shapes = [size for each in convolutions for size in (g, *each.kernel_size)]
            y: Tensor = branches(x, taps, self._bias(), shapes)
            return y
        sizes = [self.config.dim - 3 * g, g, g, g]
        left, square, row, column = torch.split(x.permute(0, 3, 1, 2), sizes, dim=1)
        mixed = (left, self.square(square), self.row(row), self.column(column))
        return torch.cat([part.permute(0, 2, 3, 1) for part in mixed], dim=-1)

    def reference(self, x: Tensor) -> Tensor:
        """The same map as one sum over the taps of square kernels, most of which are zero."""
        return kernel_sum(x, self._kernels()) + self._biases()

    def _kernels(self) -> Tensor:
        """(C, K, K): all channels' kernels, each in the middle of a square that holds the longest."""
        side = max(self.config.square, self.config.band)
        untouched = self.square.weight.new_ones(self.config.dim - 3 * self.config.branch, 1, 1)
        parts = (untouched, *(each.weight[:, 0] for each in (self.square, self.row, self.column)))
        return torch.cat([_centred(part, side) for part in parts])

    def _biases(self) -> Tensor:
        """(C,): of all channels."""
        together = self._bias()
        return F.pad(together, (self.config.dim - len(together), 0))

    def _bias(self) -> Tensor:
        """(3 g,): of the convolutions."""
        biases = (self.square.bias, self.row.bias, self.column.bias)
        return torch.cat([bias for bias in biases if bias is not None])

    def affinity(self, x: Tensor) -> StencilAffinity:
        """(B, H, W, C) -> (B, C, H * W, H * W): every channel is a head."""
        batch, height, width, dim = x.shape
        kernels = self._kernels()
        return StencilAffinity(
            kernels.view(1, dim, 1, -1),
            square_offsets(kernels.shape[2], x.device),
            map_columns(height, width, device=x.device),
            kind="static",
            batch=batch,
        )

    def values(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, C, H * W, 1): the input itself."""
        return split_into_heads(x, self.config.dim)

    def project(self, mixed: Tensor, height: int, width: int) -> Tensor:
        """(B, C, H * W, 1) -> (B, H, W, C). The biases are added here: they belong to no column."""
        return join_heads(mixed, height, width) + self._biases()

    def macs(self, height: int, width: int) -> int:
        """N g (S^2 + 2 L) for a square of side S and bands of length L."""
        return height * width * self.config.branch * (self.config.square**2 + 2 * self.config.band)

    def from_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state dict of `InceptionDWConv2d`, the authors' or timm's."""
        names = ((name, *name.partition(".")) for name in state)
        return {PUBLISHED.get(layer, layer) + dot + rest: state[name] for name, layer, dot, rest in names}


def _is_faster_by_onednn(x: Tensor, weight: Tensor) -> bool:
    """Whether PyTorch's own convolutions take less: forward, on a small map, with vectors of 512 bits."""
    return HAS_AVX512 and max(x.shape[1:3]) < WIDE and x.dtype == torch.float32 and not needs_gradient(x, weight)


def _centred(kernels: Tensor, side: int) -> Tensor:
    """(G, h, w), both odd -> (G, side, side), zero around the kernels."""
    down, across = ((side - size) // 2 for size in kernels.shape[1:])
    return F.pad(kernels, (across, across, down, down))
