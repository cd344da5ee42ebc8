"""Contextual Transformer block: static and dynamic context of a 3 x 3 neighbourhood, fused by split attention.

Li et al., "Contextual Transformer Networks for Visual Recognition", 2021, section 3.2 (formulas: contextual.py).
"""

from __future__ import annotations

from stmbench.mixers.base import register_mixer
from stmbench.mixers.contextual import INERT, Contextual, CotConfig, cot_at


@register_mixer(
    "cot",
    config=CotConfig,
    config_at=cot_at,
    title="Contextual Transformer Block",
    abbreviation="CoT",
    family="Dynamic Convolution",
    sampling="local",
    weights="both",
    method="CoTNet",
    citation="Li et al., 2021",
    inert=INERT,
    shares=("-", "-"),  # the split of the contexts is no pair of numbers
    palette_slot=5,
    channel_multiple=8,
)
class Cot(Contextual):
    """(B, H, W, C) -> (B, H, W, C)."""
