"""Weighted sums over the taps of a K x K neighbourhood: one kernel for all positions, or weights for each position."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from stmbench.kernels.setting import can_run
from stmbench.kernels.sums import DEVICES, grouped_sums, interleaved_sums
from stmbench.mixers.ops import cached_table, is_eager_on_cpu, needs_gradient


def kernel_sum(x: Tensor, kernel: Tensor, dilation: int = 1) -> Tensor:
    """A depthwise convolution with zero padding, tap by tap: x (B, H, W, C), kernel (C, K, K) -> (B, H, W, C)."""
    (height, width), side = x.shape[1:3], kernel.shape[-1]
    radius = dilation * (side // 2)
    padded, y = F.pad(x, (0, 0, radius, radius, radius, radius)), torch.zeros_like(x)
    for tap in range(side**2):
        top, left = (dilation * step for step in divmod(tap, side))
        if abs(top - radius) < height and abs(left - radius) < width:  # others find nothing but padding
            y = y + padded[:, top : top + height, left : left + width] * kernel[:, tap // side, tap % side]
    return y


def local_sums(values: Tensor, taps: Tensor, side: int, halves: int = 1) -> Tensor:
    """y[p, c] = sum over taps t of w[t, p, g(c)] v[p + offset(t), c], zero padding outside the map.

    Args:
        values: (B, H, W, C).
        taps: (K * K, B, H, W, G) weights, taps row by row; channel c uses weight c mod G, or, with `halves`, within
            each half of the channels by itself, weight c mod G/halves of that half.
        side: K, of the neighbourhood.

    Returns:
        (B, H, W, C).
    """
    if torch.jit.is_tracing():  # type: ignore[attr-defined,no-untyped-call,unused-ignore]
        return contracted_sums(values, taps, side, halves)  # a trace is for counting or export: show the plain form
    if can_run(values, taps, devices=DEVICES):
        dtype, whole = _dtypes(values, taps)
        found: Tensor = interleaved_sums(values.to(whole), taps.permute(1, 2, 3, 4, 0).to(whole), side, halves)
        return found.to(dtype)
    batch, height, width, dim = values.shape
    count, groups = side**2, taps.shape[-1]
    radius, own = side // 2, groups // halves
    shape = (batch, height, width, halves, dim // groups, own)
    padded = F.pad(values, (0, 0, radius, radius, radius, radius))
    padded = padded.view(batch, height + 2 * radius, width + 2 * radius, *shape[3:])
    weights = taps.contiguous().view(count, batch, height, width, halves, 1, own)
    total: Tensor | None = None
    for tap in range(count):
        row, column = divmod(tap, side)
        shifted = padded[:, row : row + height, column : column + width]
        total = shifted * weights[tap] if total is None else torch.addcmul(total, shifted, weights[tap])
    assert total is not None
    return total.reshape(batch, height, width, dim)


def contracted_sums(values: Tensor, taps: Tensor, side: int, halves: int = 1) -> Tensor:
    """The same by unfolding and one contraction: K * K copies of the values."""
    batch, height, width, dim = values.shape
    count, groups = side**2, taps.shape[-1]
    radius, own = side // 2, groups // halves
    padded = F.pad(values, (0, 0, radius, radius, radius, radius))
    shifted = [
        padded[:, row : row + height, column : column + width] for row in range(side) for column in range(side)
    ]  # fmt: skip
    stacked = torch.stack(shifted).view(count, batch, height, width, halves, dim // groups, own)
    weights = taps.reshape(count, batch, height, width, halves, own)
    return torch.einsum("tbhwarg,tbhwag->bhwarg", stacked, weights).reshape(batch, height, width, dim)


def group_sums(values: Tensor, weights: Tensor, side: int) -> Tensor:
    """y[p, c] = sum over taps t of w[p, g, t] v[p + offset(t), c], g the group of channels that c is in; zero outside.

    Args:
        values: (B, H, W, C).
        weights: (B, H, W, groups, K * K), taps row by row; a group is C / groups neighbouring channels.
        side: K, of the neighbourhood.

    Returns:
        (B, H, W, C). On a CPU it is one weighted gather of rows, with a backward pass of its own (for first
        derivatives); otherwise `local_sums`.
    """
    # a compiled forward pass alone is faster without: inductor fuses it with what is around
    fused = torch.compiler.is_compiling() and not needs_gradient(values, weights)
    if not fused and can_run(values, weights, devices=DEVICES):
        dtype, whole = _dtypes(values, weights)
        found: Tensor = grouped_sums(values.to(whole), weights.to(whole), side)
        return found.to(dtype)
    # there are more weights than rows: a 32-bit index counts those too
    if is_eager_on_cpu(values) and weights.numel() < 2**31:
        dtype = torch.promote_types(values.dtype, weights.dtype)
        values, weights = values.to(dtype), weights.to(dtype)
        if needs_gradient(values, weights):
            sums: Tensor = _GroupSums.apply(values, weights, side)
            return sums
        return gathered_group_sums(values, weights, side)
    return local_sums(values, weights.permute(4, 0, 1, 2, 3), side, weights.shape[3])


def _dtypes(values: Tensor, weights: Tensor) -> tuple[torch.dtype, torch.dtype]:
    """Of the sums, and for adding up: float32 at least."""
    dtype = torch.promote_types(values.dtype, weights.dtype)
    return dtype, torch.promote_types(dtype, torch.float32)


def gathered_group_sums(values: Tensor, weights: Tensor, side: int) -> Tensor:
    """`group_sums` as one gather: rows of C / groups channels, K * K of them for each position and group."""
    batch, height, width, dim = values.shape
    groups, radius = weights.shape[3], side // 2
    dtype = torch.promote_types(values.dtype, torch.float32)
    table = F.pad(values, (0, 0, radius, radius, radius, radius)).to(dtype).reshape(-1, dim // groups)
    image, row, column, group = (
        torch.arange(size, dtype=torch.int32).view(-1, *[1] * (3 - axis))
        for axis, size in enumerate((batch, height, width, groups))
    )
    step = torch.arange(side, dtype=torch.int32)
    across = width + 2 * radius
    tap = (step[:, None] * across + step).flatten() * groups
    first = ((image * (height + 2 * radius) + row) * across + column) * groups + group  # of each position's first tap
    index = (first[..., None] + tap).view(-1, side**2)
    sums = F.embedding_bag(index, table, per_sample_weights=weights.to(dtype).reshape(-1, side**2), mode="sum")
    return sums.view(batch, height, width, dim).to(values.dtype)


class _GroupSums(torch.autograd.Function):
    """`gathered_group_sums`, and its backward pass tap by tap: autograd's would fill a map of zeros for every tap."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, weights: Tensor, side: int) -> Tensor:
        ctx.save_for_backward(values, weights)
        ctx.set_materialize_grads(False)
        ctx.side = side
        return gathered_group_sums(values, weights, side)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor | None) -> tuple[Tensor | None, Tensor | None, None]:
        if gradient is None:
            return None, None, None
        values, weights = ctx.saved_tensors
        side, (batch, height, width, groups, taps) = ctx.side, weights.shape
        radius, dtype = side // 2, torch.promote_types(values.dtype, torch.float32)
        grouped = gradient.to(dtype).reshape(batch, height, width, groups, -1)  # B, H, W, groups, d
        padded = F.pad(values.to(dtype), (0, 0, radius, radius, radius, radius))
        padded = padded.view(*padded.shape[:3], groups, -1)
        of_values = torch.zeros_like(padded)
        of_weights = grouped.new_empty(taps, batch, height, width, groups)
        by_tap = weights.to(dtype).permute(4, 0, 1, 2, 3).contiguous()[..., None]
        product = torch.empty_like(grouped)
        for tap in range(taps):
            row, column = divmod(tap, side)
            shifted = (slice(None), slice(row, row + height), slice(column, column + width))
            of_values[shifted].addcmul_(grouped, by_tap[tap])
            torch.sum(torch.mul(grouped, padded[shifted], out=product), -1, out=of_weights[tap])
        inside = of_values[:, radius : radius + height, radius : radius + width].flatten(3)
        return inside.to(values.dtype), of_weights.permute(1, 2, 3, 4, 0).to(weights.dtype), None


def group_products(queries: Tensor, keys: Tensor, side: int) -> Tensor:
    """The product of every query with the keys around it: (B, H, W, groups, d) twice -> (B, H, W, groups, K * K)."""
    height, width, radius = *queries.shape[1:3], side // 2
    padded = F.pad(keys, (0, 0, 0, 0, radius, radius, radius, radius))
    products = []
    for tap in range(side**2):
        row, column = divmod(tap, side)
        products.append((queries * padded[:, row : row + height, column : column + width]).sum(-1))
    return torch.stack(products, -1)


@cached_table
def neighbour_index(height: int, width: int, window: int, device: torch.device) -> Tensor:
    """(N, K^2): the token that is each token's neighbour, -1 outside the map."""
    token, tap = torch.arange(height * width, device=device)[:, None], torch.arange(window**2, device=device)
    y, x = token // width + tap // window - window // 2, token % width + tap % window - window // 2
    return torch.where((y >= 0) & (y < height) & (x >= 0) & (x < width), y * width + x, -1)
