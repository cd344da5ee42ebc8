"""Weighted sums over all tokens with a learned matrix.

`StaticMatrix` holds the N x N affinities of MLP mixers, whole or of low rank, and at other resolutions than they were
made for.

Gao et al., "Container", NeurIPS 2021, eq. 6: A_mlp is a learned N x N matrix, N = H * W tokens at the design size.
"""

from __future__ import annotations

import dataclasses
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.errors import ConfigError, require

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

    def resized_tensor(self, name: str, value: Tensor) -> Tensor | None:
        """A parameter of another size, from that of a square map; None for one that is no such thing."""
        new, old, own = self.config.resolution, square_map(value.shape[1]), getattr(self, name)
        if old is None or value.ndim != 3 or len(value) != len(own):
            return None
        shrink = old[0] * old[1] / (new[0] * new[1])
        if name == "whole":
            return resized(value, old, new) * shrink if value.shape[2] == value.shape[1] else None
        rows = _resized_rows(value, old, new)
        return rows * shrink if name == "right" else rows

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
        # while a model is traced, its map's sides are tensors
        design, got = ("x".join(str(int(side)) for side in pair) for pair in (made_for, size))
        raise ConfigError(
            f"a map of {design}, which the {what} was made for",
            got,
            f"build the model with img_size= that size, or leave resize=False out to interpolate the {what}",
        )


def square_map(tokens: int) -> Size | None:
    """The size of a square map of so many tokens; None if there is none."""
    side = math.isqrt(tokens)
    return (side, side) if side * side == tokens else None


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
