"""Weighted sums of tokens: over all of them with a learned matrix, or over the taps of a K x K neighbourhood.

`StaticMatrix` holds the N x N affinities of MLP mixers, whole or of low rank, and at other resolutions than they were
made for. Neighbourhoods have one kernel for all positions, or weights per position.

Gao et al., "Container", NeurIPS 2021, eq. 6: A_mlp is a learned N x N matrix, N = H * W tokens at the design size.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from stmbench.errors import ConfigError, require
from stmbench.mixers.ops import is_eager_on_cpu, needs_gradient

Size = tuple[int, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MatrixConfig:
    """`heads` matrices for maps of `resolution`; `rank` None for whole ones. `resize` allows other resolutions."""

    heads: int
    resolution: Size
    rank: int | None = None
    resize: bool = True

    def __post_init__(self) -> None:
        require(min(self.resolution) >= 1, "a resolution of at least 1 x 1", self.resolution)
        require(self.rank is None or self.rank >= 1, "rank >= 1", self.rank)


class StaticMatrix(nn.Module):
    """`heads` learned matrices (N, N), rows being output positions.

    At another resolution rows and columns are interpolated as images of the design size (bilinear), and the weights
    are divided by the growth of N, so that a row's sum stays what it is.
    """

    def __init__(self, config: MatrixConfig) -> None:
        super().__init__()
        self.config = config
        heads, tokens, rank = config.heads, config.resolution[0] * config.resolution[1], config.rank
        self.whole = nn.Parameter(torch.empty(heads, tokens, tokens)) if rank is None else None
        self.left = None if rank is None else nn.Parameter(torch.empty(heads, tokens, rank))
        self.right = None if rank is None else nn.Parameter(torch.empty(heads, tokens, rank))
        # factors whose product has the standard deviation of a whole matrix
        deviation = 0.02 if rank is None else (0.02 / rank**0.5) ** 0.5
        for parameter in self.parameters():
            nn.init.trunc_normal_(parameter, std=deviation)

    def forward(self, values: Tensor, size: Size) -> Tensor:
        """Mix values (B, heads, N, d) of a map of `size`; one matrix serves any number of heads."""
        self._check(size)
        batch, heads, _, depth = values.shape
        matrices = self.config.heads  # 1, or as many as there are heads
        shared = heads // matrices
        # images become columns, (matrices, N, B * shared * d): a product over the batch would copy the matrix for each
        grouped = values.reshape(batch, matrices, shared, -1, depth)
        columns = grouped.permute(1, 3, 0, 2, 4).flatten(2)  # matrices, N, B * shared * d
        if self.whole is not None:
            mixed = self.matrix(size) @ columns
        else:
            left, right = self._factors(size)
            mixed = left @ (right.transpose(1, 2) @ columns)
        mixed = mixed.view(matrices, -1, batch, shared, depth)
        return mixed.permute(2, 0, 3, 1, 4).reshape(batch, heads, -1, depth)

    def matrix(self, size: Size) -> Tensor:
        """(heads, N, N) for a map of `size`. Raises ConfigError at another resolution where resizing is off."""
        self._check(size)
        if self.whole is None:
            left, right = self._factors(size)
            return left @ right.transpose(1, 2)
        if size == self.config.resolution:
            return self.whole
        return resized(self.whole, self.config.resolution, size) / self._growth(size)

    def reference(self, size: Size) -> Tensor:
        """`matrix`, with the interpolation written out as a matrix of its own for each axis."""
        matrices: Tensor | None = self.whole
        if matrices is None:
            assert self.left is not None
            assert self.right is not None
            matrices = torch.einsum("hnr,hmr->hnm", self.left, self.right)
        if size == self.config.resolution:
            return matrices
        height, width = self.config.resolution
        shrink = (height * width) / (size[0] * size[1])
        return shrink * resized_reference(matrices, self.config.resolution, size)

    def macs(self, height: int, width: int, dim: int) -> int:
        """N^2 C, or 2 N r C (and the factors' products with the values alone: resizing is not counted)."""
        tokens = height * width
        return tokens * dim * (tokens if self.config.rank is None else 2 * self.config.rank)

    def _factors(self, size: Size) -> tuple[Tensor, Tensor]:
        assert self.left is not None
        assert self.right is not None
        if size == self.config.resolution:
            return self.left, self.right
        old = self.config.resolution
        return _resized_rows(self.left, old, size), _resized_rows(self.right, old, size) / self._growth(size)

    def _growth(self, size: Size) -> float:
        return size[0] * size[1] / (self.config.resolution[0] * self.config.resolution[1])

    def _check(self, size: Size) -> None:
        require_resolution(size, self.config.resolution, resize=self.config.resize, what="static matrix")


def require_resolution(size: Size, made_for: Size, *, resize: bool, what: str) -> None:
    """Raise ConfigError for a map of another `size` than `what` was made for, unless it may be resized."""
    if size != made_for and not resize:
        design, got = ("x".join(map(str, pair)) for pair in (made_for, size))
        raise ConfigError(
            f"a map of {design}, which the {what} was made for",
            got,
            f"build the model with img_size= that size, or leave resize=False out to interpolate the {what}",
        )


def resized(matrices: Tensor, old: Size, new: Size) -> Tensor:
    """(heads, N, N) for maps of size `old` -> (heads, N', N'): rows and columns are interpolated as images."""
    columns = _resized_rows(matrices.transpose(1, 2), old, new)  # heads, N' columns, N rows
    return _resized_rows(columns.transpose(1, 2), old, new)


def _resized_rows(table: Tensor, old: Size, new: Size) -> Tensor:
    """(heads, N, features), N the positions of a map of size `old` -> (heads, N', features)."""
    image = table.transpose(1, 2).reshape(len(table), -1, *old)  # heads, features, H, W
    return F.interpolate(image, new, mode="bilinear", align_corners=False).flatten(2).transpose(1, 2)


def resized_reference(matrices: Tensor, old: Size, new: Size) -> Tensor:
    """`resized`, with the interpolation written out as a matrix of its own for each axis."""
    down, across = interpolation_matrix(old[0], new[0], matrices), interpolation_matrix(old[1], new[1], matrices)
    positions = torch.einsum("iy,jx->ijyx", down, across).reshape(new[0] * new[1], old[0] * old[1])
    return torch.einsum("in,hnm,jm->hij", positions, matrices, positions)


def interpolation_matrix(old: int, new: int, like: Tensor, *, corners: bool = False) -> Tensor:
    """(new, old) weights of linear interpolation: new point i lies at (i + 1/2) old / new - 1/2 of the old ones, or at
    the first or last of them; with `corners`, first on first and last on last."""
    weights = torch.zeros(new, old, dtype=like.dtype, device=like.device)
    for i in range(new):
        centred = min(max((i + 0.5) * old / new - 0.5, 0.0), old - 1.0)
        position = i * (old - 1) / max(new - 1, 1) if corners else centred
        low = int(position)
        weights[i, low] += low + 1 - position
        if position > low:
            weights[i, low + 1] += position - low
    return weights


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
    # there are more weights than rows: a 32-bit index counts those too
    if is_eager_on_cpu(values) and weights.numel() < 2**31:
        dtype = torch.promote_types(values.dtype, weights.dtype)
        values, weights = values.to(dtype), weights.to(dtype)
        if needs_gradient(values, weights):
            sums: Tensor = _GroupSums.apply(values, weights, side)
            return sums
        return gathered_group_sums(values, weights, side)
    return local_sums(values, weights.permute(4, 0, 1, 2, 3), side, weights.shape[3])


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
        ctx.side = side
        return gathered_group_sums(values, weights, side)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
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
