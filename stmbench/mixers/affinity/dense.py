"""Affinities in which every column may have a weight: attention over all tokens, with a softmax or without, and
matrices that are held."""

from __future__ import annotations

import torch
from torch import Tensor

from stmbench.mixers.affinity.base import Affinity, Kind
from stmbench.mixers.affinity.columns import Columns


class FullAffinity(Affinity):
    """A form that knows of no zeros: its entries are its rows, and it is applied block of rows by block of rows."""

    def entries(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Every column, for every row."""
        columns = torch.arange(self.shape[3], device=queries.device)
        return columns.expand(len(queries), -1), self.rows(queries)

    def apply(self, values: Tensor) -> Tensor:
        """(B, heads, N_in, d) -> (B, heads, N_out, d)."""
        return torch.cat([self.rows(queries) @ values for queries in self.blocks()], dim=2)


class AttentionAffinity(FullAffinity):
    """softmax(scale q k^T + bias) over the keys; rows are computed when they are asked for.

    Args:
        q: (B, heads, N_out, d); k: (B, heads, N_in, d).
        scale: of the product, by default d^-1/2.
        bias: broadcastable to (B, heads, N_out, N_in), its row dimension written out; None for none.
    """

    def __init__(
        self, q: Tensor, k: Tensor, columns: Columns, *, scale: float | None = None, bias: Tensor | None = None
    ) -> None:
        super().__init__((*q.shape[:3], k.shape[2]), columns, "dynamic")
        self._q, self._k, self._bias = q, k, bias
        self._scale = q.shape[3] ** -0.5 if scale is None else scale

    def rows(self, queries: Tensor) -> Tensor:
        """(Q,) long -> (B, heads, Q, N_in)."""
        logits = (self._q[:, :, queries] * self._scale) @ self._k.transpose(2, 3)
        if self._bias is not None:
            logits = logits + self._bias[..., queries, :]
        return logits.softmax(dim=-1)


class ProductAffinity(FullAffinity):
    """q k^T without a softmax, as in linear attention: q (B, heads, N_out, d), k (B, heads, N_in, d)."""

    def __init__(self, q: Tensor, k: Tensor, columns: Columns) -> None:
        super().__init__((*q.shape[:3], k.shape[2]), columns, "dynamic")
        self._q, self._k = q, k

    def rows(self, queries: Tensor) -> Tensor:
        """(Q,) long -> (B, heads, Q, N_in)."""
        return self._q[:, :, queries] @ self._k.transpose(2, 3)

    def apply(self, values: Tensor) -> Tensor:
        """(B, heads, N_in, d) -> (B, heads, N_out, d): values first, so that nothing of N_out x N_in is made."""
        return self._q @ (self._k.transpose(2, 3) @ values)


class CirculantAffinity(FullAffinity):
    """A convolution over the whole map that wraps around its borders: A[p, q] = kernel[p - q], one kernel per head.

    Args:
        kernels: (heads, H, W), entry (y, x) being the weight of the token y rows above and x columns to the left.
        batch: images.
    """

    def __init__(self, kernels: Tensor, columns: Columns, *, kind: Kind, batch: int) -> None:
        super().__init__((batch, len(kernels), len(columns), len(columns)), columns, kind)
        self._kernels = kernels

    def rows(self, queries: Tensor) -> Tensor:
        """(Q,) long -> (B, heads, Q, N)."""
        height, width = self._kernels.shape[1:]
        place = torch.arange(height * width, device=queries.device)
        up = (queries[:, None] // width - place // width) % height
        left = (queries[:, None] % width - place % width) % width
        return self._kernels[:, up, left].expand(self.shape[0], -1, -1, -1)


class MatrixAffinity(FullAffinity):
    """A matrix that is held: (B or 1, heads, N_out, N_in); `batch` images share one that has a first dimension of 1."""

    def __init__(self, weights: Tensor, columns: Columns, *, kind: Kind, batch: int) -> None:
        super().__init__((batch, *weights.shape[1:]), columns, kind)
        self._weights = weights

    def entries(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Every column; the weights once where the images share them."""
        columns = torch.arange(self.shape[3], device=queries.device)
        return columns.expand(len(queries), -1), self._weights[:, :, queries]

    def rows(self, queries: Tensor) -> Tensor:
        """(Q,) long -> (B, heads, Q, N_in)."""
        return self._weights[:, :, queries].expand(self.shape[0], -1, -1, -1)

    def apply(self, values: Tensor) -> Tensor:
        """(B, heads, N_in, d) -> (B, heads, N_out, d)."""
        return self._weights @ values
