"""The dynamic context of a CoT block alone (Li et al. 2021, Table 5): the static one only makes the weights."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from stmbench.mixers.base import register_mixer
from stmbench.mixers.contextual import Contextual, CotConfig, cot_at


@register_mixer(
    "cot_dynamic",
    config=CotConfig,
    config_at=cot_at,
    title="CoT, Dynamic Context",
    abbreviation="CoT-dyn",
    family="Dynamic Convolution",
    sampling="local",
    weights="dynamic",
    method="CoTNet, Table 5",
    citation="Li et al., 2021",
    palette_slot=7,
    channel_multiple=8,
)
class CotDynamic(Contextual):
    """(B, H, W, C) -> (B, H, W, C)."""

    is_fused: ClassVar[bool] = False

    def fused(self, dynamic: Tensor, static: Tensor) -> Tensor:
        """Y."""
        return dynamic
