"""Self-attention over all tokens of a channels-last map: what self_attn, container and container_pam share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.errors import require


def num_heads(dim: int, head_dim: int, heads: int | None) -> int:
    """`heads` where given, else dim / head_dim. Raises ConfigError where they do not divide `dim`."""
    if heads is not None:
        require(heads >= 1 and dim % heads == 0, f"heads that divide dim {dim}", heads)
        return heads
    require(head_dim >= 1 and dim % head_dim == 0, f"dim {dim} divisible by head_dim", head_dim)
    return dim // head_dim


class QkvProjection(nn.Linear):
    """Queries, keys and values (in this order) of every token, or the values alone: (..., C) -> (..., 3 C or C)."""

    def __init__(self, dim: int, *, queries: bool = True) -> None:
        super().__init__(dim, 3 * dim if queries else dim)

    def values(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C): the values without the rest."""
        return F.linear(x, self.weight[-self.in_features :], self.bias[-self.in_features :])


def self_attention(qkv: Tensor, heads: int) -> Tensor:
    """softmax(q k^T / sqrt(d)) v over all tokens: (B, H, W, 3 C) -> (B, H, W, C), by fused attention."""
    batch, height, width, channels = qkv.shape
    # B, N, 3, heads, d -> 3 x (B, heads, N, d)
    q, k, v = qkv.reshape(batch, height * width, 3, heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
    mixed = F.scaled_dot_product_attention(q, k, v)
    return mixed.transpose(1, 2).reshape(batch, height, width, channels // 3)


def self_attention_reference(qkv: Tensor, heads: int) -> Tensor:
    """The same, head by head with a softmax that can be read."""
    q, k, v = qkv.flatten(1, 2).chunk(3, dim=-1)  # B, N, C each
    depth = q.shape[-1] // heads
    mixed = []
    for head in range(heads):
        part = slice(head * depth, (head + 1) * depth)
        logits = q[..., part] @ k[..., part].transpose(1, 2) * depth**-0.5
        mixed.append(logits.softmax(dim=-1) @ v[..., part])
    return torch.cat(mixed, dim=-1).reshape(*qkv.shape[:3], -1)
