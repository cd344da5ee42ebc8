"""Stem and transitions of the unified architecture: overlapping 3x3 convolutions of stride 2, channels last."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NORM_EPS = 1e-6  # of stem, transitions and stage norms; the blocks' is the mixer's own


def halved(size: int) -> int:
    """Length of a map after a 3x3 convolution of stride 2 and padding 1."""
    return (size + 1) // 2


class HalvingConv(nn.Conv2d):
    """3x3 convolution of stride 2 and padding 1 on a channels-last map: (B, H, W, C) -> (B, H/2, W/2, C')."""

    def __init__(self, in_dim: int, out_dim: int, *, bias: bool) -> None:
        super().__init__(in_dim, out_dim, 3, stride=2, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Channels last in and out; inside, the permuted view is a channels_last tensor: no copy."""
        y: Tensor = super().forward(x.permute(0, 3, 1, 2))
        return y.permute(0, 2, 3, 1)

    def macs(self, height: int, width: int) -> int:
        """Multiply-adds on an input of height x width."""
        return halved(height) * halved(width) * 9 * self.in_channels * self.out_channels


class Stem(nn.Module):
    """conv, LN, GELU, conv, LN: an image (B, C, H, W) -> tokens (B, H/4, W/4, dim)."""

    def __init__(self, in_chans: int, dim: int) -> None:
        super().__init__()
        self.conv1 = HalvingConv(in_chans, dim // 2, bias=True)
        self.norm1 = nn.LayerNorm(dim // 2, eps=NORM_EPS)
        self.conv2 = HalvingConv(dim // 2, dim, bias=True)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, H/4, W/4, dim)."""
        # the one copy of a forward pass: from here on everything is channels last
        x = image.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)
        x = F.gelu(self.norm1(self.conv1(x)))
        y: Tensor = self.norm2(self.conv2(x))
        return y

    def macs(self, height: int, width: int) -> int:
        """Multiply-adds on an image of height x width."""
        return self.conv1.macs(height, width) + self.conv2.macs(halved(height), halved(width))


class Transition(nn.Module):
    """conv, LN: (B, H, W, C) -> (B, H/2, W/2, C')."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.conv = HalvingConv(in_dim, out_dim, bias=False)
        self.norm = nn.LayerNorm(out_dim, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H/2, W/2, C')."""
        y: Tensor = self.norm(self.conv(x))
        return y

    def macs(self, height: int, width: int) -> int:
        """Multiply-adds on an input of height x width."""
        return self.conv.macs(height, width)
