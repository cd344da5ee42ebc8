"""The kernels of `stmbench.kernels.sums` for CUDA, in Triton. They run with STMBENCH_KERNELS=all.

Tested in Triton's interpreter against the plain forms; their speed was not measured yet, so "auto" leaves them out. A
block has a number of rows (positions and groups) and all channels of a group. Sums have the dtype of the tensors. The
gradient of deformable sums adds atomically: its order, and so its last digits, differ from run to run.
"""

# ruff: noqa: N803, E741 - constants of a kernel are upper case, as Triton's own
# mypy: disable-error-code="no-untyped-call,no-untyped-def,untyped-decorator,operator"
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS = 32  # of a block


@triton.jit
def _weights(weights, start, inside, K: tl.constexpr, SOFTMAX: tl.constexpr):
    """The largest weight of each row and the sum of the exponentials: 0 and 1 where there is no softmax."""
    largest = tl.load(weights + start, mask=inside, other=0.0) * 0
    total = largest + 1
    if SOFTMAX:
        largest += tl.load(weights + start, mask=inside, other=0.0)
        for k in tl.static_range(1, K):
            largest = tl.maximum(largest, tl.load(weights + start + k, mask=inside, other=0.0))
        total *= 0
        for k in tl.static_range(K):
            total += tl.exp(tl.load(weights + start + k, mask=inside, other=0.0) - largest)
    return largest, total


@triton.jit
def _point(offsets, weights, grid, at, start, inside, row, column, scale, largest, total, k, SOFTMAX: tl.constexpr):
    """Position and weight of point k of each row."""
    x = column + tl.load(grid + 2 * k) + scale * tl.load(offsets + at + 2 * k, mask=inside, other=0.0)
    y = row + tl.load(grid + 2 * k + 1) + scale * tl.load(offsets + at + 2 * k + 1, mask=inside, other=0.0)
    weight = tl.load(weights + start + k, mask=inside, other=0.0)
    if SOFTMAX:
        weight = tl.exp(weight - largest) / total
    return x, y, weight


@triton.jit
def _corner(value, image, x, y, inside, height, width, step, channel, within, I: tl.constexpr, J: tl.constexpr):
    """What the corner (I, J) of the points holds, its share of them, and where it is; zero outside the map."""
    left, top = tl.floor(x), tl.floor(y)
    column, row = left + J, top + I
    known = inside & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    share = (x - left if J else 1 - x + left) * (y - top if I else 1 - y + top)
    token = tl.where(known, row, 0).to(tl.int64) * width + tl.where(known, column, 0).to(tl.int64)
    place = (image + token)[:, None] * step + channel
    mask = known[:, None] & within
    return tl.load(value + place, mask=mask, other=0.0), tl.where(known, share, share * 0), place, mask


@triton.jit
def _rows(count, height, width, groups, depth, R: tl.constexpr, D: tl.constexpr):
    """The rows of this block: which there are, their tokens, images, groups and places, and their channels."""
    rows = tl.program_id(0).to(tl.int64) * R + tl.arange(0, R)
    token, group, lane = rows // groups, rows % groups, tl.arange(0, D)
    image = token // (height * width) * height * width
    channel = (group * depth)[:, None] + lane[None, :]
    within = (lane < depth)[None, :]
    row, column = token // width % height, token % width
    return rows, rows < count, token, image, row, column, channel, within, groups * depth, group


@triton.jit
def _deformable(
    value, offsets, weights, grid, out, count, height, width, groups, depth, scale, ot, og, wt, wg,
    K: tl.constexpr, SOFTMAX: tl.constexpr, R: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    _, inside, token, image, row, column, channel, within, step, group = _rows(
        count, height, width, groups, depth, R, D
    )
    at, start = token * ot + group * og, token * wt + group * wg
    largest, total = _weights(weights, start, inside, K, SOFTMAX)
    sums = tl.load(value + image[:, None] * step + channel, mask=inside[:, None] & within, other=0.0) * 0
    for k in tl.static_range(K):
        x, y, weight = _point(offsets, weights, grid, at, start, inside, row, column, scale, largest, total, k, SOFTMAX)
        for i in tl.static_range(2):
            for j in tl.static_range(2):
                v, share, _, _ = _corner(value, image, x, y, inside, height, width, step, channel, within, i, j)
                sums += (weight * share)[:, None] * v
        sums += ((x + y + weight) * 0)[:, None]  # not a number where one of them is none
    tl.store(out + token[:, None] * step + channel, sums, mask=inside[:, None] & within)


@triton.jit
def _deformable_backward(
    value, offsets, weights, grid, gradient, of_value, of_offsets, of_weights,
    count, height, width, groups, depth, scale, ot, og, wt, wg,
    K: tl.constexpr, SOFTMAX: tl.constexpr, R: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    rows, inside, token, image, row, column, channel, within, step, group = _rows(
        count, height, width, groups, depth, R, D
    )
    at, start = token * ot + group * og, token * wt + group * wg
    largest, total = _weights(weights, start, inside, K, SOFTMAX)
    up = tl.load(gradient + token[:, None] * step + channel, mask=inside[:, None] & within, other=0.0)
    mean = largest * 0  # of the weights' gradients, by weight
    for k in tl.static_range(K):
        x, y, weight = _point(offsets, weights, grid, at, start, inside, row, column, scale, largest, total, k, SOFTMAX)
        of_weight, of_x, of_y = mean * 0, mean * 0, mean * 0
        for i in tl.static_range(2):
            for j in tl.static_range(2):
                v, share, place, mask = _corner(value, image, x, y, inside, height, width, step, channel, within, i, j)
                product = tl.sum(up * v, axis=1)
                of_weight += share * product
                right, below = x - tl.floor(x), y - tl.floor(y)
                of_x += (2 * j - 1) * (below if i else 1 - below) * product
                of_y += (2 * i - 1) * (right if j else 1 - right) * product
                tl.atomic_add(of_value + place, (weight * share)[:, None] * up, mask=mask)
        none = (x + y + weight) * 0
        tl.store(of_weights + rows * K + k, of_weight + none, mask=inside)
        tl.store(of_offsets + 2 * (rows * K + k), scale * weight * of_x + none, mask=inside)
        tl.store(of_offsets + 2 * (rows * K + k) + 1, scale * weight * of_y + none, mask=inside)
        mean += weight * of_weight
    if SOFTMAX:
        for k in tl.static_range(K):
            share = tl.exp(tl.load(weights + start + k, mask=inside, other=0.0) - largest) / total
            found = tl.load(of_weights + rows * K + k, mask=inside, other=0.0)
            tl.store(of_weights + rows * K + k, share * (found - mean), mask=inside)


def deformable_sums(
    value: Tensor, offsets: Tensor, weights: Tensor, grid: Tensor, scale: float, softmax: bool
) -> Tensor:
    """See `stmbench.kernels.sums`; offsets and weights as its `inner` leaves them."""
    value, grid, y = (
        value.contiguous(),
        grid.contiguous(),
        torch.empty_like(value, memory_format=torch.contiguous_format),
    )
    count, sizes, names = _deformable_sizes(value, offsets, weights, softmax)
    if count:
        _deformable[(triton.cdiv(count, ROWS),)](
            value, offsets, weights, grid, y, count, *sizes[:4], scale, *sizes[4:], **names
        )
    return y


def deformable_sums_backward(
    value: Tensor, offsets: Tensor, weights: Tensor, grid: Tensor, scale: float, softmax: bool, gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of value, offsets and weights."""
    value, grid, gradient = value.contiguous(), grid.contiguous(), gradient.contiguous()
    found = torch.zeros_like(value), offsets.new_empty(offsets.shape), weights.new_empty(weights.shape)
    count, sizes, names = _deformable_sizes(value, offsets, weights, softmax)
    if count:
        _deformable_backward[(triton.cdiv(count, ROWS),)](
            value, offsets, weights, grid, gradient, *found, count, *sizes[:4], scale, *sizes[4:], **names
        )
    return found


def _deformable_sizes(
    value: Tensor, offsets: Tensor, weights: Tensor, softmax: bool
) -> tuple[int, tuple[int, ...], dict[str, int]]:
    batch, height, width, groups, points = weights.shape
    depth = value.shape[3] // groups
    steps = (offsets.stride(2), offsets.stride(3), weights.stride(2), weights.stride(3))
    names = {"K": points, "SOFTMAX": softmax, "R": ROWS, "D": triton.next_power_of_2(depth)}
    return batch * height * width * groups, (height, width, groups, depth, *steps), names


@triton.jit
def _shifted(token, height, width, I, J, RADIUS: tl.constexpr, SIGN: tl.constexpr):
    """The token that tap (I, J) reaches, or, with SIGN -1, that reaches it by the tap; and whether it exists."""
    row = token // width % height + SIGN * (I - RADIUS)
    column = token % width + SIGN * (J - RADIUS)
    known = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return tl.where(known, token + SIGN * ((I - RADIUS) * width + J - RADIUS), 0), known


@triton.jit
def _neighbourhood(
    given, weights, out, count, height, width, groups, dim, first, member, halves,
    SIDE: tl.constexpr, SIGN: tl.constexpr, R: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    # SIGN 1: sums over the taps of each position; SIGN -1: the gradient of the values, from that of the sums
    rows = tl.program_id(0).to(tl.int64) * R + tl.arange(0, R)
    inside = rows < count
    token, group = rows // groups, rows % groups
    own = groups // halves
    lane = tl.arange(0, D)
    within = inside[:, None] & (lane < dim // groups)[None, :]
    channel = (group // own * (dim // halves) + group % own * first)[:, None] + (lane * member)[None, :]
    sums = tl.load(given + channel, mask=within, other=0.0) * 0
    for i in tl.static_range(SIDE):
        for j in tl.static_range(SIDE):
            other, known = _shifted(token, height, width, i, j, SIDE // 2, SIGN)
            weigher = token if SIGN == 1 else other
            place = (weigher * groups + group) * SIDE * SIDE + i * SIDE + j
            weight = tl.load(weights + place, mask=inside & known, other=0.0)
            v = tl.load(given + other[:, None] * dim + channel, mask=within & known[:, None], other=0.0)
            sums += weight[:, None] * v
    tl.store(out + token[:, None] * dim + channel, sums, mask=within)


@triton.jit
def _neighbourhood_weights(
    values, gradient, of_weights, count, height, width, groups, dim, first, member, halves,
    SIDE: tl.constexpr, R: tl.constexpr, D: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0).to(tl.int64) * R + tl.arange(0, R)
    inside = rows < count
    token, group = rows // groups, rows % groups
    own = groups // halves
    lane = tl.arange(0, D)
    within = inside[:, None] & (lane < dim // groups)[None, :]
    channel = (group // own * (dim // halves) + group % own * first)[:, None] + (lane * member)[None, :]
    up = tl.load(gradient + token[:, None] * dim + channel, mask=within, other=0.0)
    for i in tl.static_range(SIDE):
        for j in tl.static_range(SIDE):
            other, known = _shifted(token, height, width, i, j, SIDE // 2, 1)
            v = tl.load(values + other[:, None] * dim + channel, mask=within & known[:, None], other=0.0)
            tl.store(of_weights + rows * SIDE * SIDE + i * SIDE + j, tl.sum(up * v, axis=1), mask=inside)


def neighbourhood_sums(values: Tensor, weights: Tensor, side: int, halves: int, *, interleaved: bool) -> Tensor:
    """`grouped_sums`, or `interleaved_sums`."""
    return _summed(values, weights, side, halves, interleaved, sign=1)


def neighbourhood_sums_backward(
    values: Tensor, weights: Tensor, side: int, halves: int, gradient: Tensor, *, interleaved: bool
) -> tuple[Tensor, Tensor]:
    """The gradients of values and weights."""
    values, gradient = values.contiguous(), gradient.contiguous()
    of_values = _summed(gradient, weights, side, halves, interleaved, sign=-1)
    of_weights = weights.new_empty(weights.shape)
    count, sizes, names = _neighbourhood_sizes(values, weights, side, halves, interleaved)
    if count:
        _neighbourhood_weights[(triton.cdiv(count, ROWS),)](values, gradient, of_weights, count, *sizes, **names)
    return of_values, of_weights


def _summed(given: Tensor, weights: Tensor, side: int, halves: int, interleaved: bool, *, sign: int) -> Tensor:
    given, weights = given.contiguous(), weights.contiguous()
    y = torch.empty_like(given)
    count, sizes, names = _neighbourhood_sizes(given, weights, side, halves, interleaved)
    if count:
        _neighbourhood[(triton.cdiv(count, ROWS),)](given, weights, y, count, *sizes, SIGN=sign, **names)
    return y


def _neighbourhood_sizes(
    values: Tensor, weights: Tensor, side: int, halves: int, interleaved: bool
) -> tuple[int, tuple[int, ...], dict[str, int]]:
    """Rows, and where a group's channels are: how far the first ones of two groups are apart, and a group's own."""
    (_, height, width, dim), groups = values.shape, weights.shape[3]
    first, member = (1, groups // halves) if interleaved else (dim // groups, 1)
    names = {"SIDE": side, "R": ROWS, "D": triton.next_power_of_2(dim // groups)}
    return weights.shape[:4].numel(), (height, width, groups, dim, first, member, halves), names
