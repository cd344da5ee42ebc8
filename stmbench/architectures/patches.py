"""Patch embeddings, which do not overlap, and the head of networks that pool the last map: container and isotropic."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stmbench.architectures.head import classifier


class PatchConv(nn.Conv2d):
    """A convolution whose stride is its side, on a channels-last map; patches that do not fit are left out."""

    def __init__(self, in_dim: int, out_dim: int, side: int) -> None:
        super().__init__(in_dim, out_dim, side, stride=side)
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H/side, W/side, C')."""
        y: Tensor = super().forward(x.permute(0, 3, 1, 2))
        return y.permute(0, 2, 3, 1)

    def macs(self, height: int, width: int) -> int:
        """Multiply-adds on an input of height x width."""
        return (height // self.side) * (width // self.side) * self.weight.numel()


class PatchEmbedding(nn.Module):
    """Convolution, and a LayerNorm where `norm_eps` is given: (B, H, W, C) -> (B, H/side, W/side, C')."""

    def __init__(self, in_dim: int, out_dim: int, side: int, *, norm_eps: float | None) -> None:
        super().__init__()
        self.conv1 = PatchConv(in_dim, out_dim, side)
        self.norm = nn.Identity() if norm_eps is None else nn.LayerNorm(out_dim, eps=norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H/side, W/side, C')."""
        y: Tensor = self.norm(self.conv1(x))
        return y

    def macs(self, height: int, width: int) -> int:
        """Multiply-adds on an input of height x width."""
        return self.conv1.macs(height, width)


class ImageEmbedding(PatchEmbedding):
    """The same for an image: (B, C, H, W) -> (B, H/side, W/side, C')."""

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, H/side, W/side, C')."""
        # the one copy of a forward pass: from here on everything is channels last
        return super().forward(image.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1))


class PoolingHead(nn.Module):
    """Global average pool, linear classifier: (B, H, W, C) -> logits (B, num_classes)."""

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__()
        self.width = dim
        self.fc = classifier(dim, num_classes)

    def forward(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """(B, H, W, C) -> (B, num_classes); with `pre_logits` the features before the classifier."""
        x = x.mean((1, 2))
        return x if pre_logits else self.fc(x)

    def macs(self, height: int, width: int) -> int:
        """Multiply-adds on a map of height x width."""
        return self.width * (self.fc.out_features if isinstance(self.fc, nn.Linear) else 0)
