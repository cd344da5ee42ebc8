"""The start of a stem in float32 and without a gradient: a 3 x 3 convolution of stride 2, LayerNorm and GELU, in one
pass over the image."""

from __future__ import annotations

import dataclasses

import torch.nn.functional as F
from torch import Tensor

from stmbench.kernels.library import CALLS, call

SIDE = 3
VECTOR = 16  # numbers that a kernel may work with at once


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weights:
    """Of the convolution and the norm."""

    conv: Tensor  # (C', C, 3, 3)
    conv_bias: Tensor  # (C',)
    norm: Tensor  # (C',)
    norm_bias: Tensor  # (C',)
    eps: float  # of the norm

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All of them."""
        return self.conv, self.conv_bias, self.norm, self.norm_bias

    def fit(self, image: Tensor) -> bool:
        """Whether all sizes are what they say, for images (B, C, H, W) that are not empty."""
        if image.ndim != 4 or not image.numel():
            return False
        made = len(self.conv)
        expected = [(made, image.shape[1], SIDE, SIDE), (made,), (made,), (made,)]
        return [tuple(tensor.shape) for tensor in self.tensors] == expected


def stem(image: Tensor, weights: Weights) -> Tensor:
    """Images (B, C, H, W), which the weights must `fit` -> (B, H', W', C'), halved and rounded up."""
    CALLS["stem"] += 1
    batch, _, height, width = image.shape
    made = len(weights.conv)
    out = image.new_empty(batch, (height + 1) // 2, (width + 1) // 2, made)
    room = -made % VECTOR
    kernel = F.pad(weights.conv.permute(1, 2, 3, 0), (0, room)).contiguous()  # tap by tap
    norm = (weights.norm.contiguous(), weights.norm_bias.contiguous())
    given = (image, kernel, F.pad(weights.conv_bias, (0, room)).contiguous(), *norm, out)
    sizes = (*image.shape, made, made + room, *out.shape[1:3], *image.stride())
    call("stem", given, sizes, weights.eps, is_part=True)
    return out
