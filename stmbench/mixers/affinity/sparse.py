"""What affinities share that hold a few entries for each row: their rows are the entries, put into their columns."""

from __future__ import annotations

from torch import Tensor

from stmbench.mixers.affinity.base import Affinity


class SparseAffinity(Affinity):
    """Rows from entries. A column may appear several times in a row's entries: the weights add up."""

    def rows(self, queries: Tensor) -> Tensor:
        """(Q,) long -> (B, heads, Q, N_in)."""
        columns, weights = self.entries(queries)
        return scattered(columns, weights, self.shape[3]).expand(self.shape[0], -1, -1, -1)


def scattered(columns: Tensor, weights: Tensor, size: int) -> Tensor:
    """Columns (broadcastable to the weights) and weights (B, heads, Q, K) -> dense rows (B, heads, Q, size)."""
    rows = weights.new_zeros((*weights.shape[:3], size))
    return rows.scatter_add(3, columns.expand_as(weights), weights)
