"""Contextual (CoT) blocks in float32 and without a gradient, some images at a time: BatchNorms, activations and
GroupNorm are part of the passes that make or read their maps, and no map is put beside another. See
`stmbench.mixers.ops.contextual`."""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.kernels.library import CALLS, call
from stmbench.kernels.mlp import PART

SHARED = 8  # channels of the values that share a weight
KERNEL = 3
VECTOR = 16  # numbers that kernels may read behind the last one


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layers:
    """Of C channels, in one or two halves: the 1 x 1 convolutions to the weights and values have a group for each."""

    context: nn.Conv2d  # C -> C, 3 x 3, in groups
    context_norm: nn.BatchNorm2d
    reduce: nn.Conv2d  # of the map and its static context, 2 C -> C / 2
    reduce_norm: nn.BatchNorm2d
    expand: nn.Conv2d  # C / 2 -> C / 8 * 9, with a bias
    weight_norm: nn.GroupNorm  # C / 8 groups
    value: nn.Conv2d  # C -> C
    value_norm: nn.BatchNorm2d
    norm: nn.BatchNorm2d  # of the sums
    split_reduce: nn.Conv2d  # C -> hidden, of the mean of both contexts, with a bias
    split_norm: nn.BatchNorm2d
    split_expand: nn.Conv2d  # hidden -> 2 C, in turn of the dynamic and of the static context, with a bias
    halves: int

    @property
    def norms(self) -> tuple[nn.BatchNorm2d, ...]:
        """The BatchNorms."""
        return self.context_norm, self.reduce_norm, self.value_norm, self.norm, self.split_norm

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All that they hold: weights, biases, running means and variances."""
        convolutions = (self.context, self.reduce, self.expand, self.value, self.split_reduce, self.split_expand)
        held = [tensor for layer in (*convolutions, self.weight_norm) for tensor in (layer.weight, layer.bias)]
        held += [
            tensor for norm in self.norms for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var)
        ]
        return tuple(tensor for tensor in held if tensor is not None)

    def fit(self, x: Tensor) -> bool:
        """Whether they are as above and for maps of x's channels, and the norms in inference."""
        dim, halves, groups = x.shape[-1], self.halves, self.context.groups
        if x.ndim != 4 or dim % (SHARED * halves) or any(norm.training for norm in self.norms):
            return False
        hidden = len(self.split_reduce.weight)
        as_expected = [
            _is(self.context, (dim, dim, groups), has_bias=False, side=KERNEL),
            _is(self.reduce, (2 * dim, dim // 2, halves), has_bias=False),
            _is(self.expand, (dim // 2, KERNEL**2 * dim // SHARED, halves), has_bias=True),
            _is(self.value, (dim, dim, halves), has_bias=False),
            _is(self.split_reduce, (dim, hidden, 1), has_bias=True),
            _is(self.split_expand, (hidden, 2 * dim, 1), has_bias=True),
        ]
        norm = self.weight_norm
        as_expected += [
            (norm.num_groups, norm.num_channels) == (dim // SHARED, len(self.expand.weight)),
            all(tensor is not None and tensor.shape == (norm.num_channels,) for tensor in (norm.weight, norm.bias)),
        ]
        channels = (dim, dim // 2, dim, dim, hidden)
        held = [(norm.weight, norm.bias, norm.running_mean, norm.running_var) for norm in self.norms]
        as_expected += [
            tensor is not None and tuple(tensor.shape) == (size,)
            for size, tensors in zip(channels, held, strict=True)
            for tensor in tensors
        ]
        return all(as_expected)


class Weights:
    """What the kernels take of the layers, for C channels: (halves, out, in) matrices, and an order tap by tap."""

    def __init__(self, layers: Layers, dim: int) -> None:
        halves, half = layers.halves, dim // layers.halves
        reduce = layers.reduce.weight.reshape(halves, -1, 2 * half)  # which may lie in memory in any order
        # of a half's channels, those of the map and those of its context: one after the other, or in turn
        places = (slice(None, half), slice(half, None)) if halves == 1 else (slice(None, None, 2), slice(1, None, 2))
        self.of_map, self.of_context = (reduce[..., place] for place in places)
        self.value = layers.value.weight.reshape(halves, half, half)
        norm = layers.weight_norm
        by_tap = [
            _by_tap(tensor, halves) for tensor in (layers.expand.weight, layers.expand.bias, norm.weight, norm.bias)
        ]
        self.expand = by_tap[0].view(halves, -1, dim // 2 // halves)
        self.of_weights = by_tap[1:]


def contextual(x: Tensor, layers: Layers) -> Tensor:
    """Both contexts of a map, mixed: (B, H, W, C), which the layers must `fit`, -> (B, H, W, C), contiguous."""
    CALLS["contextual"] += 1
    x = x.contiguous()
    (batch, height, width, dim), halves, context = x.shape, layers.halves, layers.context
    own, hidden = dim // SHARED // halves, dim // 2
    of_weights = KERNEL**2 * own * halves
    weights = Weights(layers, dim)
    affine = [_affine(norm) for norm in layers.norms[:4]]
    images = max(1, min(batch, PART * torch.get_num_threads() // (height * width)))
    most = images * height * width
    units, values = x.new_empty(most, hidden), x.new_empty(most, dim)
    room = x.new_empty(most * of_weights + VECTOR)
    by_tap = room[: most * of_weights].view(most, of_weights)
    scale, shift = (x.new_empty(images * of_weights + VECTOR) for _ in range(2))
    out, dynamic, pooled = x.new_empty(x.shape), x.new_empty(images, *x.shape[1:]), x.new_empty(images, height, dim)
    whole = F.conv2d(x.permute(0, 3, 1, 2), context.weight, padding=1, groups=context.groups)
    whole = whole.permute(0, 2, 3, 1).contiguous()
    for first in range(0, batch, images):
        part, to, static = (tensor[first : first + images] for tensor in (x, out, whole))
        count, tokens = len(part), len(part) * height * width
        call("affine_relu", (*affine[0], static), (tokens, dim), is_part=True)
        maps, contexts = part.view(-1, dim), static.view(-1, dim)
        for h in range(halves):
            mine, hers = _of_half(h, dim // halves), _of_half(h, hidden // halves)
            torch.mm(maps[:, mine], weights.value[h].t(), out=values[:tokens, mine])
            torch.mm(maps[:, mine], weights.of_map[h].t(), out=units[:tokens, hers])
            units[:tokens, hers].addmm_(contexts[:, mine], weights.of_context[h].t())
        call("affine_relu", (*affine[1], units), (tokens, hidden), is_part=True)
        for h in range(halves):
            hers, rows = _of_half(h, hidden // halves), _of_half(h, of_weights // halves)
            torch.mm(units[:tokens, hers], weights.expand[h].t(), out=by_tap[:tokens, rows])
        sizes = (count, height * width, halves, KERNEL**2, own)
        given = (room, *weights.of_weights, scale, shift)
        call("group_affine", given, sizes, layers.weight_norm.eps, is_part=True)
        given = (values, *affine[2], room, scale, shift, *affine[3], static, dynamic, pooled)
        call("contextual_sums", given, (*part.shape, halves), is_part=True)
        mean = pooled[:count].sum(1) / (height * width)
        call("mix", (dynamic, static, *_shares(mean, layers), to), (count, height * width, dim), is_part=True)
    return out


def _shares(mean: Tensor, layers: Layers) -> tuple[Tensor, Tensor]:
    """(B, C), the mean of both contexts -> (B, C) twice: how much of the dynamic and of the static context is taken."""
    scale, shift = _affine(layers.split_norm)
    units = F.linear(mean, layers.split_reduce.weight.flatten(1), layers.split_reduce.bias)
    units = torch.addcmul(shift, units, scale).relu()
    logits = F.linear(units, layers.split_expand.weight.flatten(1), layers.split_expand.bias)
    both = logits.view(len(logits), -1, 2).softmax(2)
    return both[:, :, 0].contiguous(), both[:, :, 1].contiguous()


def _is(layer: nn.Conv2d, sizes: tuple[int, int, int], *, has_bias: bool, side: int = 1) -> bool:
    """Whether a convolution has these channels, given and made, and groups, and a map's size stays the same."""
    given, made, groups = sizes
    geometry = (layer.stride, layer.padding, layer.dilation, layer.padding_mode, layer.groups)
    is_plain = geometry == ((1, 1), (side // 2, side // 2), (1, 1), "zeros", groups)
    bias = None if layer.bias is None else tuple(layer.bias.shape)
    shapes = (tuple(layer.weight.shape), bias)
    return is_plain and shapes == ((made, given // groups, side, side), (made,) if has_bias else None)


def _of_half(half: int, size: int) -> slice:
    return slice(half * size, (half + 1) * size)


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """A BatchNorm in inference as a scale and a shift: (C,) each."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return scale, torch.addcmul(norm.bias, norm.running_mean, scale, value=-1)


def _by_tap(tensor: Tensor | None, halves: int) -> Tensor:
    """What has (halves, own, 9) as its first dimension, as (halves, 9, own)."""
    assert tensor is not None
    return tensor.reshape(halves, -1, KERNEL**2, tensor[0].numel()).transpose(1, 2).contiguous()
