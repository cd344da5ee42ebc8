"""Self-attention over all tokens of the map.

Vaswani et al., "Attention Is All You Need", NeurIPS 2017, and Dosovitskiy et al., ICLR 2021. For each head,

    Y = softmax(Q K^T / sqrt(d)) V
"""

from __future__ import annotations

import dataclasses

from torch import Tensor, nn

from stmbench.errors import require
from stmbench.mixers import presets
from stmbench.mixers.affinity import AttentionAffinity, join_heads, map_columns, split_into_heads
from stmbench.mixers.base import BlockPosition, Mixer, MixerConfig, register_mixer
from stmbench.mixers.ops.attention import QkvProjection, key_bias, num_heads, self_attention, self_attention_reference


@dataclasses.dataclass(frozen=True, kw_only=True)
class SelfAttnConfig(MixerConfig):
    """`heads` heads that divide `dim`."""

    heads: int

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.heads >= 1 and self.dim % self.heads == 0, f"heads that divide dim {self.dim}", self.heads)


def config_at(position: BlockPosition, *, head_dim: int = 32, heads: int | None = None) -> SelfAttnConfig:
    """Heads of `head_dim` channels; `heads`, where given, is their number in every stage instead."""
    return SelfAttnConfig(dim=position.dim, heads=num_heads(position.dim, head_dim, heads))


@register_mixer(
    "self_attn",
    config=SelfAttnConfig,
    config_at=config_at,
    title="Self-Attention",
    abbreviation="Self-Attn",
    family="Global Attention",
    sampling="global",
    weights="dynamic",
    method="ViT, DeiT",
    citation="Vaswani et al., NeurIPS 2017",
    zero_gradient=(key_bias(),),
    palette_slot=5,
    softmax_rows=True,
    channel_multiple=32,
    presets=presets.nano(head_dim=16),
)
class SelfAttn(Mixer):
    """(B, H, W, C) -> (B, H, W, C). The cost grows with the square of H * W."""

    config: SelfAttnConfig

    def __init__(self, config: SelfAttnConfig) -> None:
        super().__init__()
        self.config = config
        self.qkv = QkvProjection(config.dim)
        self.proj = nn.Linear(config.dim, config.dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        y: Tensor = self.proj(self_attention(self.qkv(x), self.config.heads))
        return y

    def reference(self, x: Tensor) -> Tensor:
        """The same map, head by head with a softmax that can be read."""
        y: Tensor = self.proj(self_attention_reference(self.qkv(x), self.config.heads))
        return y

    def affinity(self, x: Tensor) -> AttentionAffinity:
        """(B, H, W, C) -> (B, heads, H * W, H * W)."""
        q, k, _ = (split_into_heads(part, self.config.heads) for part in self.qkv(x).chunk(3, dim=-1))
        return AttentionAffinity(q, k, map_columns(x.shape[1], x.shape[2], device=x.device))

    def values(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, heads, H * W, d)."""
        return split_into_heads(self.qkv.values(x), self.config.heads)

    def project(self, mixed: Tensor, height: int, width: int) -> Tensor:
        """(B, heads, H * W, d) -> (B, H, W, C)."""
        y: Tensor = self.proj(join_heads(mixed, height, width))
        return y

    def macs(self, height: int, width: int) -> int:
        """4 N C^2 for the projections and 2 N^2 C for the two products."""
        dim, tokens = self.config.dim, height * width
        return 4 * tokens * dim * dim + 2 * tokens * tokens * dim
