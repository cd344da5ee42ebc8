"""Convolutions written as sums over their taps: what references read like."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def kernel_sum(x: Tensor, kernel: Tensor) -> Tensor:
    """A depthwise convolution with zero padding, tap by tap: x (B, H, W, C), kernel (C, K, K) -> (B, H, W, C)."""
    height, width = x.shape[1:3]
    side = kernel.shape[-1]
    radius = side // 2
    padded = F.pad(x, (0, 0, radius, radius, radius, radius))
    y = torch.zeros_like(x)
    for i in range(side):
        for j in range(side):
            y = y + padded[:, i : i + height, j : j + width] * kernel[:, i, j]
    return y
