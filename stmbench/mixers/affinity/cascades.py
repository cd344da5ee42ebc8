"""Affinities of convolutions one after another, whose results are gated and added."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from stmbench.mixers.affinity.columns import Columns
from stmbench.mixers.affinity.dense import FullAffinity


class CascadeAffinity(FullAffinity):
    """Depthwise convolutions with zero padding, each of the gated result of the one before, channel by channel:

        c_l = g_l (k_l * c_(l-1)),  l = 1..L,   y = sum over l of w_l c_l + m mean(c_L)

    and c_0 the values. Rows are computed on request, from the last convolution back to the first.

    Args:
        kernels: k_1..k_L, (C, K, K) each, K odd.
        gates: g_1..g_L, (B, C, H, W) each.
        weights: (B, L, H, W), w of all channels.
        mean: m, (B, C, H, W), of the mean over the map.
    """

    def __init__(
        self, kernels: Sequence[Tensor], gates: Sequence[Tensor], weights: Tensor, mean: Tensor, columns: Columns
    ) -> None:
        batch, channels = mean.shape[:2]
        super().__init__((batch, channels, len(columns), len(columns)), columns, "dynamic")
        self._kernels, self._gates, self._weights, self._mean = kernels, gates, weights, mean

    def rows(self, queries: Tensor) -> Tensor:
        """(Q,) long -> (B, C, Q, N)."""
        batch, channels, tokens, _ = self.shape
        itself = queries[:, None] == torch.arange(tokens, device=queries.device)
        found = self._mean.flatten(2)[:, :, queries].transpose(1, 2)[:, :, None] / tokens  # B, Q, 1, C
        for level in reversed(range(len(self._kernels))):
            own = self._weights[:, level].flatten(1)[:, queries, None] * itself  # B, Q, N
            gated = (found + own[..., None]) * self._gates[level].flatten(2).transpose(1, 2)[:, None]  # B, Q, N, C
            maps = gated.reshape(-1, *self._mean.shape[2:], channels).permute(0, 3, 1, 2)  # channels last: faster
            maps = _convolved(maps, self._kernels[level].flip(1, 2))
            found = maps.permute(0, 2, 3, 1).reshape(batch, -1, tokens, channels)
        return found.permute(0, 3, 1, 2)

    def apply(self, values: Tensor) -> Tensor:
        """(B, C, N, d) -> (B, C, N, d): the convolutions themselves."""
        batch, channels, tokens, depth = values.shape
        maps = values.permute(0, 3, 1, 2).reshape(batch * depth, channels, *self._mean.shape[2:])

        def each(of_image: Tensor) -> Tensor:
            return of_image.repeat_interleave(depth, dim=0)  # for every value of a token

        total = torch.zeros_like(maps)
        for level, (kernel, gate) in enumerate(zip(self._kernels, self._gates, strict=True)):
            maps = each(gate) * _convolved(maps, kernel)
            total = total + each(self._weights[:, level, None]) * maps
        total = total + each(self._mean) * maps.mean(dim=(2, 3), keepdim=True)
        return total.reshape(batch, depth, channels, tokens).permute(0, 2, 3, 1)


def _convolved(maps: Tensor, kernel: Tensor) -> Tensor:
    """(B, C, H, W) by kernels of (C, K, K)."""
    return F.conv2d(maps, kernel[:, None], padding=kernel.shape[-1] // 2, groups=len(kernel))
