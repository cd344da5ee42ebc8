"""CoT's block for ResNeXt: two groups in the 1 x 1 convolutions, eight in the 3 x 3, each half aggregated by itself.

Li et al., "Contextual Transformer Networks for Visual Recognition", 2021, section 3.3, as the authors' CoXtLayer.
"""

from __future__ import annotations

from stmbench.mixers.base import Site, register_mixer
from stmbench.mixers.contextual import INERT, Contextual, CotConfig


def config_at(site: Site, *, key_groups: int = 8) -> CotConfig:
    """The same everywhere."""
    return CotConfig(dim=site.dim, key_groups=key_groups, halves=2)


@register_mixer(
    "coxt",
    config=CotConfig,
    config_at=config_at,
    title="Contextual Transformer Block, Two Halves",
    abbreviation="CoXt",
    family="Dynamic Convolution",
    sampling="local",
    weights="both",
    method="CoTNeXt",
    citation="Li et al., 2021",
    inert=INERT,
    shares=("-", "-"),  # the split of the contexts is no pair of numbers
    palette_slot=9,
    channel_multiple=16,
)
class Coxt(Contextual):
    """(B, H, W, C) -> (B, H, W, C)."""
