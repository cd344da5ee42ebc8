"""Layers of channels-last maps (B, H, W, C): convolutions, norms, MLPs, stems, transitions, heads; position embeddings.

A permuted channels-last tensor is a tensor in PyTorch's channels_last memory format, so no layer here copies its input.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.kernels import stem as kernels
from stmbench.mixers.ops import is_eager_on_cpu, is_unchanged, takes_single
from stmbench.mixers.ops.patch_conv import PatchConv

NORM_EPS = 1e-6  # of the unified architecture's stem, transitions and stage norms; each mixer sets that of its blocks


def halved(size: int) -> int:
    """Side of a map after a 3x3 convolution of stride 2 and padding 1."""
    return (size + 1) // 2


def to_channels_last(image: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H, W, C): the only copy in a forward pass."""
    return image.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)


class ChannelsLastConv(PatchConv):
    """A convolution of a channels-last map: (B, H, W, C) -> (B, H', W', C')."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H', W', C')."""
        y: Tensor = super().forward(x.permute(0, 3, 1, 2))
        return y.permute(0, 2, 3, 1)


class ChannelsLastBatchNorm(nn.BatchNorm2d):
    """BatchNorm of a channels-last map: (B, H, W, C) -> (B, H, W, C)."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        y: Tensor = super().forward(x.permute(0, 3, 1, 2))
        return y.permute(0, 2, 3, 1)


class ChannelsLast(nn.Module):
    """Applies a module of (B, C, H, W) maps to channels-last ones."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H', W', C')."""
        y: Tensor = self.inner(x.permute(0, 3, 1, 2))
        return y.permute(0, 2, 3, 1)


class HalvingConv(ChannelsLastConv):
    """3x3 convolution of stride 2 and padding 1: (B, H, W, C) -> (B, H/2, W/2, C')."""

    def __init__(self, in_dim: int, out_dim: int, *, bias: bool) -> None:
        super().__init__(in_dim, out_dim, 3, stride=2, padding=1, bias=bias)

    def macs(self, height: int, width: int) -> int:
        """Multiply-adds for an input of height x width."""
        return halved(height) * halved(width) * self.weight.numel()


class Stem(nn.Module):
    """The unified architecture's stem: conv, LN, GELU, conv, LN. Image (B, C, H, W) -> tokens (B, H/4, W/4, dim)."""

    def __init__(self, in_chans: int, dim: int) -> None:
        super().__init__()
        self.conv1 = HalvingConv(in_chans, dim // 2, bias=True)
        self.norm1 = nn.LayerNorm(dim // 2, eps=NORM_EPS)
        self.conv2 = HalvingConv(dim // 2, dim, bias=True)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, H/4, W/4, dim)."""
        y: Tensor = self.norm2(self.conv2(self._start(image)))
        return y

    def _start(self, image: Tensor) -> Tensor:
        """Up to GELU: (B, C, H, W) -> (B, H/2, W/2, dim / 2)."""
        weights = self._weights() if is_eager_on_cpu(image) else None
        if weights is not None and takes_single(image, *weights.tensors) and weights.fit(image):
            return kernels.stem(image, weights)
        return F.gelu(self.norm1(self.conv1(to_channels_last(image))))

    def _weights(self) -> kernels.Weights | None:
        """Of the first convolution and its norm; None where one is not what it was built as, or is watched."""
        conv, norm = self.conv1, self.norm1
        if not is_unchanged(conv, HalvingConv) or not is_unchanged(norm, nn.LayerNorm):
            return None
        geometry = (conv.stride, conv.padding, conv.dilation, conv.groups, conv.padding_mode)
        if geometry != ((2, 2), (1, 1), (1, 1), 1, "zeros") or conv.bias is None:
            return None
        return kernels.Weights(
            conv=conv.weight, conv_bias=conv.bias, norm=norm.weight, norm_bias=norm.bias, eps=norm.eps
        )

    def macs(self, height: int, width: int) -> int:
        """Multiply-adds for an image of height x width."""
        return self.conv1.macs(height, width) + self.conv2.macs(halved(height), halved(width))


class Transition(nn.Module):
    """The unified architecture's transition between stages: conv, LN. (B, H, W, C) -> (B, H/2, W/2, C')."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.conv = HalvingConv(in_dim, out_dim, bias=False)
        self.norm = nn.LayerNorm(out_dim, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H/2, W/2, C')."""
        y: Tensor = self.norm(self.conv(x))
        return y

    def macs(self, height: int, width: int) -> int:
        """Multiply-adds for an input of height x width."""
        return self.conv.macs(height, width)


class PatchEmbedding(nn.Module):
    """A convolution whose stride is its side, then LayerNorm if `norm_eps` is given; incomplete patches are dropped.

    (B, H, W, C) -> (B, H/side, W/side, C').
    """

    def __init__(self, in_dim: int, out_dim: int, side: int, *, norm_eps: float | None) -> None:
        super().__init__()
        self.side = side
        self.conv1 = ChannelsLastConv(in_dim, out_dim, side, stride=side)
        self.norm = nn.Identity() if norm_eps is None else nn.LayerNorm(out_dim, eps=norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H/side, W/side, C')."""
        y: Tensor = self.norm(self.conv1(x))
        return y

    def macs(self, height: int, width: int) -> int:
        """Multiply-adds for an input of height x width."""
        return (height // self.side) * (width // self.side) * self.conv1.weight.numel()


class ImageEmbedding(PatchEmbedding):
    """A patch embedding of an image: (B, C, H, W) -> (B, H/side, W/side, C')."""

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, H/side, W/side, C')."""
        return super().forward(to_channels_last(image))


class Mlp(nn.Module):
    """Two linear layers with GELU between them: (..., C) -> (..., C)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        y: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return y

    def macs(self, height: int, width: int) -> int:
        """Multiply-adds for a map of height x width."""
        return height * width * (self.fc1.weight.numel() + self.fc2.weight.numel())


EXPANSION = 1.5  # of the channels, before pooling


class ConvHead(nn.Module):
    """The unified architecture's head: 1x1 convolution, BatchNorm, GELU, global average pooling, linear classifier.

    (B, H, W, C) -> logits (B, num_classes), or pooled features if `num_classes` is 0. `norm_after_pool` adds a
    LayerNorm between pooling and classifier (designs B, C and E of Hu et al., Table VI).
    """

    def __init__(self, dim: int, num_classes: int, *, norm_after_pool: bool, eps: float) -> None:
        super().__init__()
        self.width = int(dim * EXPANSION)
        self.conv = nn.Linear(dim, self.width, bias=False)  # a 1x1 convolution of a channels-last map
        self.norm = nn.BatchNorm2d(self.width)
        self.pool_norm = nn.LayerNorm(self.width, eps=eps) if norm_after_pool else nn.Identity()
        self.fc = classifier(self.width, num_classes)

    def forward(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """(B, H, W, C) -> (B, num_classes); with `pre_logits` the features before the classifier."""
        x = self.norm(self.conv(x).permute(0, 3, 1, 2))  # (B, C', H, W), a channels-last view
        x = self.pool_norm(F.gelu(x).mean((2, 3)))
        return x if pre_logits else self.fc(x)

    def macs(self, height: int, width: int) -> int:
        """Multiply-adds for a map of height x width."""
        return height * width * self.conv.weight.numel() + _classifier_macs(self.fc)


class PoolingHead(nn.Module):
    """Global average pooling, linear classifier: (B, H, W, C) -> logits (B, num_classes)."""

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__()
        self.width = dim
        self.fc = classifier(dim, num_classes)

    def forward(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """(B, H, W, C) -> (B, num_classes); with `pre_logits` the features before the classifier."""
        x = x.mean((1, 2))
        return x if pre_logits else self.fc(x)

    def macs(self, height: int, width: int) -> int:
        """Multiply-adds for a map of height x width."""
        return _classifier_macs(self.fc)


def classifier(width: int, num_classes: int) -> nn.Module:
    """A linear layer, or the identity if there are no classes."""
    return nn.Linear(width, num_classes) if num_classes > 0 else nn.Identity()


def _classifier_macs(fc: nn.Module) -> int:
    return fc.weight.numel() if isinstance(fc, nn.Linear) else 0


def resized_position(table: Tensor, height: int, width: int) -> Tensor:
    """A position embedding (1, H, W, C) at another size, bilinear with aligned corners, as Hu et al. resize theirs."""
    if table.shape[1:3] == (height, width):
        return table
    resized = F.interpolate(table.permute(0, 3, 1, 2), (height, width), mode="bilinear", align_corners=True)
    return resized.permute(0, 2, 3, 1)


def new_position(size: tuple[int, int], dim: int) -> Tensor:
    """First values (1, H, W, C) of a position embedding: a truncated normal of standard deviation 0.02."""
    return nn.init.trunc_normal_(torch.empty(1, *size, dim), std=0.02)
