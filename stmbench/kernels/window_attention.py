"""Attention within shifted windows in float32 and without a gradient, with its layers, some images at a time: no map is
moved, split by heads, or merged. See `stmbench.mixers.sw_attn`."""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.kernels.library import CALLS, call
from stmbench.kernels.linear import linear
from stmbench.kernels.mlp import PART

BLOCK = 16  # keys of a query are a multiple in the kernel


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layers:
    """Of a map of C channels: before and after the attention, and a bias for each head, query and key of a window."""

    qkv: nn.Linear  # C -> 3 C: queries, keys, values, each head by head
    output: nn.Linear  # C -> C
    bias: Tensor  # (heads, M^2, M^2)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Their weights and biases, as far as they have them."""
        held = (self.qkv.weight, self.qkv.bias, self.output.weight, self.output.bias, self.bias)
        return tuple(tensor for tensor in held if tensor is not None)

    def fit(self, x: Tensor) -> bool:
        """Whether all are as above, for a map (B, H, W, C) that is not empty: other sizes PyTorch would repeat."""
        dim = x.shape[-1]
        expected = [(3 * dim, dim), (3 * dim,), (dim, dim), (dim,), tuple(self.bias.shape)]
        is_whole = x.ndim == 4 and x.numel() > 0 and dim % len(self.bias) == 0
        return is_whole and [tuple(tensor.shape) for tensor in self.tensors] == expected


def window_attention(x: Tensor, layers: Layers, *, window: int, shift: int, height: int, width: int) -> Tensor:
    """Softmax attention of each window's tokens to one another, between its layers.

    Args:
        x: (B, H, W, C), which the layers must `fit`; H and W are multiples of `window`.
        layers: what is applied to x and to what the attention gives.
        window: side M of a window.
        shift: how far up and left the map is moved cyclically before it is divided into windows, below M. Tokens that
            come together across the map's edges are kept apart by -100.
        height: rows of the output, the first ones.
        width: columns of the output.

    Returns:
        (B, height, width, C), contiguous.
    """
    CALLS["window_attention"] += 1
    (batch, rows, columns, dim), x, bias = x.shape, x.contiguous(), layers.bias
    heads, tokens = bias.shape[:2]
    biases = F.pad(bias, (0, -tokens % BLOCK), value=-torch.inf).contiguous()
    qkv_bias, output_bias = layers.qkv.bias.contiguous(), layers.output.bias.contiguous()
    out = x.new_empty(batch, height, width, dim)
    images = max(1, min(batch, PART * torch.get_num_threads() // (rows * columns)))
    qkv, mixed = x.new_empty(images * rows * columns, 3 * dim), x.new_empty(images, rows, columns, dim)
    for first in range(0, batch, images):
        part, to = (tensor[first : first + images] for tensor in (x, out))
        given, found = qkv[: len(part) * rows * columns], mixed[: len(part)]
        torch.mm(part.view(-1, dim), layers.qkv.weight.t(), out=given)
        sizes = (len(part), rows, columns, heads, dim // heads, window, shift)
        call("window_attention", (given, qkv_bias, biases, found), sizes, is_part=True)
        linear(found[:, :height, :width].reshape(-1, dim), layers.output.weight, output_bias, to.view(-1, dim))
    return out
