"""No mixing at all: MetaFormer's control for what a network does without its mixer.

Yu et al., "MetaFormer Is Actually What You Need for Vision", CVPR 2022, Table 6: Y = X.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stmbench.mixers.affinity import StencilAffinity, join_heads, map_columns, split_into_heads, square_offsets
from stmbench.mixers.base import Mixer, MixerConfig, register_mixer


@register_mixer(
    "identity",
    config=MixerConfig,
    title="Identity",
    abbreviation="Identity",
    family="Control",
    sampling="local",
    weights="static",
    method="MetaFormer",
    citation="Yu et al., CVPR 2022",
)
class Identity(Mixer):
    """(B, H, W, C) -> the same."""

    config: MixerConfig

    def __init__(self, config: MixerConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> the same."""
        return x

    def reference(self, x: Tensor) -> Tensor:
        """Each place takes its own token."""
        return torch.stack([row.clone() for row in x.unbind(1)], dim=1)

    def affinity(self, x: Tensor) -> StencilAffinity:
        """(B, H, W, C) -> (B, 1, H * W, H * W): ones on the diagonal."""
        batch, height, width, _ = x.shape
        columns = map_columns(height, width, device=x.device)
        return StencilAffinity(x.new_ones(1, 1, 1, 1), square_offsets(1, x.device), columns, kind="static", batch=batch)

    def values(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, 1, H * W, C)."""
        return split_into_heads(x, 1)

    def project(self, mixed: Tensor, height: int, width: int) -> Tensor:
        """(B, 1, H * W, C) -> (B, H, W, C)."""
        return join_heads(mixed, height, width)

    def macs(self, height: int, width: int) -> int:
        """None."""
        return 0
