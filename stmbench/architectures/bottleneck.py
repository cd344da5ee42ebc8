"""ResNet's bottleneck around a mixer, channels last: 1x1 convolution, mixer, 1x1 convolution, and the shortcut.

He et al., CVPR 2016; the stride is implemented as in Li et al. 2021 (CoTNet) and, for the D form, as in He et al. 2019
("Bag of Tricks", ResNet-D). All maps are (B, H, W, C).
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from timm.layers.blur_pool import BlurPool2d
from timm.layers.drop import DropPath
from torch import Tensor, nn

from stmbench.architectures.cotnet_config import EXPANSION, Pooling
from stmbench.architectures.layers import ChannelsLast, ChannelsLastBatchNorm, ChannelsLastConv, halved


class Convolution(ChannelsLastConv):
    """A convolution without bias: (B, H, W, C) -> (B, H/stride, W/stride, C')."""

    def __init__(self, in_dim: int, out_dim: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__(in_dim, out_dim, kernel, stride=stride, padding=kernel // 2, bias=False)


class PlainConv(nn.Module):
    """The spatial layer of a block without mixer: 3x3 convolution, BatchNorm, ReLU."""

    def __init__(self, dim: int, stride: int) -> None:
        super().__init__()
        self.conv, self.norm = Convolution(dim, dim, 3, stride), ChannelsLastBatchNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H/stride, W/stride, C)."""
        return F.relu(self.norm(self.conv(x)))

    def macs(self, height: int, width: int) -> int:
        """Multiply-adds for an output of height x width."""
        return height * width * self.conv.weight.numel()


class SplitAttentionConv(nn.Module):
    """ResNeSt's split-attention convolution of radix 1 (Zhang et al. 2020): a 3x3 convolution, then channel weights."""

    def __init__(self, dim: int, stride: int) -> None:
        super().__init__()
        hidden = max(dim // 4, 32)
        self.conv, self.norm = Convolution(dim, dim, 3, stride), ChannelsLastBatchNorm(dim)
        self.reduce, self.expand = nn.Conv2d(dim, hidden, 1), nn.Conv2d(hidden, dim, 1)
        self.hidden_norm = nn.BatchNorm2d(hidden)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H/stride, W/stride, C)."""
        x = F.silu(self.norm(self.conv(x))).permute(0, 3, 1, 2)
        pooled = x.mean((2, 3), keepdim=True)
        weights = self.expand(F.silu(self.hidden_norm(self.reduce(pooled)))).sigmoid()
        y: Tensor = (x * weights).permute(0, 2, 3, 1)
        return y

    def macs(self, height: int, width: int) -> int:
        """Multiply-adds for an output of height x width; the channel weights cost the same at any size."""
        return height * width * self.conv.weight.numel() + self.reduce.weight.numel() + self.expand.weight.numel()


class Bottleneck(nn.Module):
    """relu(shortcut(x) + conv1x1(mixer(relu(conv1x1(x))))): (B, H, W, C) -> (B, H/stride, W/stride, 4 planes).

    Without a mixer the block keeps a convolution (`deep`: a split-attention one). A stride is average pooling before
    the mixer, or the stride of the convolution; with `pooling` 'blur' it is a blur after either.
    """

    def __init__(
        self, in_dim: int, width: int, planes: int, mixer: nn.Module | None, *, stride: int, deep: bool,
        pooling: Pooling, drop_path: float,
    ) -> None:  # fmt: skip
        super().__init__()
        out_dim = EXPANSION * planes
        self.stride, self.blurs = stride, pooling == "blur"
        self.conv1, self.norm1 = Convolution(in_dim, width), ChannelsLastBatchNorm(width)
        spatial_stride, blur = 1 if self.blurs else stride, stride > 1 and self.blurs
        if mixer is None:
            convolution = SplitAttentionConv if deep else PlainConv
            self.spatial: nn.Module = convolution(width, spatial_stride)
        else:
            self.mixer = mixer
        average = spatial_stride > 1 and mixer is not None
        self.pool = ChannelsLast(nn.AvgPool2d(3, stride, padding=1)) if average else nn.Identity()
        self.blur = ChannelsLast(BlurPool2d(width, stride=stride)) if blur else nn.Identity()
        self.conv3, self.norm3 = Convolution(width, out_dim), ChannelsLastBatchNorm(out_dim)
        self.shortcut = _shortcut(in_dim, out_dim, stride, deep=deep) if stride > 1 or in_dim != out_dim else None
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H/stride, W/stride, 4 planes)."""
        y = self.pool(F.relu(self.norm1(self.conv1(x))))
        y = self.blur(self.mixer(y) if hasattr(self, "mixer") else self.spatial(y))
        y = self.drop_path(self.norm3(self.conv3(y)))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))

    def mixing_size(self, height: int, width: int) -> tuple[int, int]:
        """(H, W) of the mixer's map, for an input of height x width: a blur halves it only afterwards."""
        return (height, width) if self.stride == 1 or self.blurs else (halved(height), halved(width))

    def macs(self, height: int, width: int) -> dict[str, int]:
        """Multiply-adds besides the mixer's, by part of the network, for an input of height x width."""
        out = (halved(height), halved(width)) if self.stride > 1 else (height, width)
        mixing = self.mixing_size(height, width)
        points = height * width * self.conv1.weight.numel() + out[0] * out[1] * self.conv3.weight.numel()
        spatial: Any = getattr(self, "spatial", None)
        points += 0 if spatial is None else spatial.macs(*mixing)
        if self.stride > 1 and self.blurs:
            points += out[0] * out[1] * 9 * self.conv1.out_channels  # the blur is a depthwise 3x3 convolution
        macs = {"bottlenecks": points, "shortcuts": 0}
        for module in [] if self.shortcut is None else self.shortcut.modules():
            if isinstance(module, nn.Conv2d):
                macs["shortcuts"] = out[0] * out[1] * module.weight.numel()
        return macs


def _shortcut(in_dim: int, out_dim: int, stride: int, *, deep: bool) -> nn.Module:
    """1x1 convolution and BatchNorm; `deep` averages the positions that a stride would skip."""
    layers: list[nn.Module] = [Convolution(in_dim, out_dim, 1, 1 if deep else stride), ChannelsLastBatchNorm(out_dim)]
    if deep and stride > 1:
        layers.insert(0, ChannelsLast(nn.AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False)))
    return nn.Sequential(*layers)
