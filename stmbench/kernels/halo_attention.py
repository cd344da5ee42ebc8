"""Halo attention in one pass, as an operator of PyTorch without a derivative: see `stmbench.mixers.halo_attn`.

Nothing is copied for all windows at once: neither tokens, of which each is a key in several windows, nor logits.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from stmbench.kernels.library import call, dense, require_shapes
from stmbench.kernels.operators import describe, operator


@operator("halo_attention", device="cpu")
def halo_attention(
    q: Tensor, kv: Tensor, height_rel: Tensor, width_rel: Tensor, heads: int, window: int, before: int, reach: int
) -> Tensor:
    """softmax(q k^T / sqrt(d) + q R_h^T + q R_w^T) v of each window's queries and the keys around it, inside the map.

    Args:
        q: (B, H, W, C), head by head; H and W are multiples of `window`. All tensors are float32, or all float64.
        kv: (B, H, W, 2 C), head by head its keys, then its values.
        height_rel: (2 reach - 1, C / heads), R_h: row (key - query + reach - 1) with both counted from the tops of
            their windows.
        width_rel: the same of columns. Rows of offsets that no query has to a key inside the map are not read.
        heads: among which the channels are split.
        window: side of a window.
        before: tokens above and left of it that belong to its keys.
        reach: side of its keys' window.

    Returns:
        (B, H, W, C), head by head.
    """
    y, (batch, height, width, channels) = q.new_empty(q.shape), q.shape
    depth, table = channels // heads, (2 * reach - 1, channels // heads)
    require_shapes((q, (batch, height // window * window, width // window * window, heads * depth)))
    require_shapes((kv, (batch, height, width, 2 * channels)), (height_rel, table), (width_rel, table))
    given = (dense(q), dense(kv), height_rel.contiguous(), width_rel.contiguous())
    call("halo_attention", (*given, y), (batch, height, width, heads, depth, window, before, reach))
    return y


def _register() -> None:
    """What compiled graphs and autograd need to know."""

    def shapes(q: Tensor, *_: Any) -> Tensor:
        return q.new_empty(q.shape)

    describe(halo_attention, shapes=shapes)


_register()
