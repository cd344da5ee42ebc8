"""Both contexts of a CoT block added up (Li et al. 2021, Table 5), without split attention."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from stmbench.mixers.base import register_mixer
from stmbench.mixers.contextual import Contextual, CotConfig, cot_at


@register_mixer(
    "cot_linear_fusion",
    config=CotConfig,
    config_at=cot_at,
    title="CoT, Linear Fusion",
    abbreviation="CoT-lin",
    family="Dynamic Convolution",
    sampling="local",
    weights="both",
    method="CoTNet, Table 5",
    citation="Li et al., 2021",
    shares=("-", "-"),  # the static context sums over channels
    palette_slot=8,
    channel_multiple=8,
)
class CotLinearFusion(Contextual):
    """(B, H, W, C) -> (B, H, W, C)."""

    is_fused: ClassVar[bool] = False

    def fused(self, dynamic: Tensor, static: Tensor) -> Tensor:
        """Y + K."""
        return dynamic + static

    def fused_slowly(self, dynamic: Tensor, static: Tensor) -> Tensor:
        """The sum of the two as they stand side by side."""
        return torch.stack((dynamic, static)).sum(0)
