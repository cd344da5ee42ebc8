"""Affinities of scans: what a linear recurrence along a path over the map takes from every token it has passed.

Gu and Dao, "Mamba", COLM 2024, and Dao and Gu, "Transformers are SSMs", ICML 2024, section 3: the selective scan is the
product with a semiseparable matrix, whose entry for output t and input s <= t is

    sum over n of C_t[n] exp(A[n] (delta_(s+1) + ... + delta_t)) B_s[n] delta_s
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from stmbench.mixers.affinity.columns import Columns
from stmbench.mixers.affinity.dense import FullAffinity

IN_CACHE: Final = 2**17  # numbers, in the rows that are computed together


class SelectiveScanAffinity(FullAffinity):
    """The semiseparable matrices of K selective scans, in the order of the map; rows are computed on request.

    Args:
        delta: (K, B, L, D); a: (K, n, D); b, c: (K, B, L, n), along each scan's path.
        skip: (K, D), what each output takes from its own input besides.
        paths: (K, L) long, the token at each position of the path.
        joined: True if the scans share their values, so that the matrices are added: D heads. Otherwise K D heads,
            scan by scan.
    """

    def __init__(
        self,
        delta: Tensor,
        a: Tensor,
        b: Tensor,
        c: Tensor,
        skip: Tensor,
        paths: Tensor,
        columns: Columns,
        *,
        joined: bool,
    ) -> None:
        scans, batch, length, dim = delta.shape
        super().__init__((batch, dim if joined else scans * dim, length, length), columns, "dynamic")
        self._delta, self._a, self._b, self._c, self._skip = delta, a, b, c, skip
        self._passed = delta.cumsum(dim=2)
        self._when = paths.argsort(dim=1)  # the position of each token on the path
        self._joined = joined

    def rows(self, queries: Tensor) -> Tensor:
        """(Q,) long -> (B, heads, Q, N_in)."""
        size = max(1, IN_CACHE // (self.shape[0] * self.shape[1] * self.shape[3]))
        return torch.cat([self._rows(few) for few in torch.split(queries, size)], dim=2)

    def _rows(self, queries: Tensor) -> Tensor:
        scans = [self._of(scan, queries) for scan in range(len(self._delta))]
        return torch.stack(scans).sum(dim=0) if self._joined else torch.cat(scans, dim=1)

    def _of(self, scan: int, queries: Tensor) -> Tensor:
        """(B, D, Q, N_in) of one scan."""
        when = self._when[scan]
        now = when[queries]
        reached = int(now.max()) + 1  # columns that any of the rows needs, in the order of the path
        passed, delta = (tensor[scan].transpose(1, 2) for tensor in (self._passed, self._delta))  # B, D, L
        later = now[:, None] < torch.arange(reached, device=queries.device)
        elapsed = (passed[:, :, now, None] - passed[:, :, None, :reached]).masked_fill_(later, 0)
        written, read = self._b[scan][:, :reached], self._c[scan][:, now]  # B, reached, n and B, Q, n
        weights = torch.zeros_like(elapsed)
        for state, rate in enumerate(self._a[scan]):  # (D,) each
            products = read[:, None, :, None, state] * written[:, None, None, :, state]
            weights = torch.addcmul(weights, products, (rate[:, None, None] * elapsed).exp_())
        weights = (weights * delta[:, :, None, :reached]).masked_fill_(later, 0)
        rows = F.pad(weights, (0, len(when) - reached))[..., when]
        itself = queries[:, None] == torch.arange(len(when), device=queries.device)
        return rows + itself * self._skip[scan][:, None, None]


class DecayAffinity(FullAffinity):
    """softmax over i of k_i - (|t - i| - 1) decay, and of k_t + first for i = t, of each channel by itself.

    Args:
        k: (B, N, C), token by token of the map; decay, first: (C,).
    """

    def __init__(self, k: Tensor, decay: Tensor, first: Tensor, columns: Columns) -> None:
        batch, tokens, dim = k.shape
        super().__init__((batch, dim, tokens, tokens), columns, "dynamic")
        self._k, self._decay, self._first = k.transpose(1, 2), decay, first

    def rows(self, queries: Tensor) -> Tensor:
        """(Q,) long -> (B, C, Q, N)."""
        distance = (queries[:, None] - torch.arange(self.shape[3], device=queries.device)).abs()
        decay, first = self._decay[:, None, None], self._first[:, None, None]
        bias = torch.where(distance == 0, first, (1 - distance) * decay)  # C, Q, N
        return (self._k[:, :, None] + bias).softmax(dim=3)
