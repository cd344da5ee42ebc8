"""Heads: from the last stage's map (B, H, W, C) to logits (B, num_classes)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

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
