"""Deformable convolution v3 in float32 and without a gradient, some images at a time: what goes from layer to layer
stays in the processor's caches, and biases are added where what they belong to is read. See `stmbench.mixers.dcnv3`."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from stmbench.kernels.library import CALLS, call
from stmbench.kernels.linear import linear
from stmbench.kernels.mlp import PART


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layers:
    """Of a map of C channels, with K points for each of some groups."""

    conv: nn.Conv2d  # depthwise
    norm: nn.LayerNorm
    offsets: nn.Linear  # C -> groups * K * 2
    weights: nn.Linear  # C -> groups * K
    value: nn.Linear  # C -> C
    output: nn.Linear  # C -> C

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Their weights and biases, as far as they have them."""
        layers = (self.conv, self.norm, self.offsets, self.weights, self.value, self.output)
        return tuple(tensor for layer in layers for tensor in (layer.weight, layer.bias) if tensor is not None)

    def fit(self, x: Tensor, groups: int, points: int) -> bool:
        """Whether all have weights and biases of the sizes above: others PyTorch would repeat, or refuse."""
        dim, side, logits = x.shape[-1], self.conv.kernel_size[0], groups * points
        outputs = (2 * logits, logits, dim, dim)
        expected: list[tuple[int, ...]] = [(dim, 1, side, side), (dim,), (dim,), (dim,)]
        expected += [shape for size in outputs for shape in ((size, dim), (size,))]
        conv = (self.conv.stride, self.conv.padding, self.conv.dilation, self.conv.padding_mode, self.conv.groups)
        is_same = conv == ((1, 1), (side // 2, side // 2), (1, 1), "zeros", dim) and side % 2 == 1
        is_same = is_same and self.norm.normalized_shape == (dim,) and x.shape[1:3].numel() > 0
        return is_same and x.ndim == 4 and [tuple(tensor.shape) for tensor in self.tensors] == expected


def deformable_conv(x: Tensor, layers: Layers, grid: Tensor, groups: int) -> Tensor:
    """The sums of the points that the layers choose around each token, each weighted by its softmax, through the last
    layer.

    Args:
        x: (B, H, W, C), which the layers must `fit`.
        layers: whose offsets are (x, y) in tokens, chosen by GELU(norm(conv(x))).
        grid: (K, 2), (x, y) in tokens: where the points are without offsets.
        groups: of channels, each with its own points.

    Returns:
        (B, H, W, C), contiguous.
    """
    CALLS["deformable_conv"] += 1
    x = x.contiguous()
    out, (batch, height, width, dim), points = x.new_empty(x.shape), x.shape, len(grid)
    logits, side = groups * points, layers.conv.kernel_size[0]
    of_points = torch.cat([layers.offsets.weight, layers.weights.weight])  # one product for both
    first_layers = [tensor.contiguous() for tensor in layers.tensors[:4]]  # the convolution and the norm
    biases = [layer.bias.contiguous() for layer in (layers.value, layers.offsets, layers.weights)]
    output_bias = layers.output.bias.contiguous()
    images = max(1, min(batch, PART * torch.get_num_threads() // (height * width)))
    most = images * height * width
    features, value, sums, chosen = (x.new_empty(most, size) for size in (dim, dim, dim, 3 * logits))
    for first in range(0, batch, images):
        part, to = (tensor[first : first + images] for tensor in (x, out))
        tokens = len(part) * height * width
        given = (part, *first_layers, features)
        call("depthwise_norm_gelu", given, (*part.shape, side), layers.norm.eps, is_part=True)
        torch.mm(features[:tokens], of_points.t(), out=chosen[:tokens])
        torch.mm(part.view(-1, dim), layers.value.weight.t(), out=value[:tokens])
        steps = (3 * logits, 2 * points, 3 * logits, points)  # to the offsets of the next token, group; the weights
        given = (value, chosen, chosen[:, 2 * logits :], grid.contiguous(), *biases, sums)
        sizes = (len(part), height, width, groups, points, dim // groups, *steps, 1)
        call("biased_deformable_sums", given, sizes, 1.0, is_part=True)
        linear(sums[:tokens], layers.output.weight, output_bias, to.view(-1, dim))
    return out
