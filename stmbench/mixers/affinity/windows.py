"""Affinity of windows: the queries of a window see the keys of a window, and nothing else."""

from __future__ import annotations

import torch
from torch import Tensor

from stmbench.mixers.affinity.base import Kind
from stmbench.mixers.affinity.columns import Columns
from stmbench.mixers.affinity.sparse import SparseAffinity


class WindowAffinity(SparseAffinity):
    """Weights (B, heads, windows, M, K) with the places of the queries and of the keys.

    Args:
        weights: (B, heads, windows, M, K): of each key of a window, in each query of it.
        queries: (windows, M) long: output position of each query, -1 for one that is thrown away (padding).
        keys: (windows, K) long: column of each key, -1 for one that does not exist (its weight must be zero).
        outputs: N_out. Every output position is a query of exactly one window.
    """

    def __init__(
        self, weights: Tensor, *, queries: Tensor, keys: Tensor, outputs: int, columns: Columns, kind: Kind = "dynamic"
    ) -> None:
        super().__init__((weights.shape[0], weights.shape[1], outputs, len(columns)), columns, kind)
        self._weights, self._keys = weights, keys
        slots = queries.flatten()
        real = slots >= 0
        assert int(real.sum()) == outputs, f"{int(real.sum())} queries for {outputs} output positions"
        self._slot = torch.empty(outputs, dtype=torch.long, device=slots.device)  # of each output, window * M + query
        self._slot[slots[real]] = real.nonzero().flatten()

    def entries(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Columns (Q, K) and weights (B, heads, Q, K)."""
        slot = self._slot[queries]
        keys = self._keys[slot // self._weights.shape[3]]
        return keys.clamp(min=0), self._weights.flatten(2, 3)[:, :, slot] * (keys >= 0)

    def apply(self, values: Tensor) -> Tensor:
        """(B, heads, N_in, d) -> (B, heads, N_out, d)."""
        seen = values[:, :, self._keys.clamp(min=0)] * (self._keys >= 0)[..., None]  # B, heads, windows, K, d
        mixed = self._weights @ seen  # B, heads, windows, M, d
        return mixed.flatten(2, 3)[:, :, self._slot]
