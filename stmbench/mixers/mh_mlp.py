"""A static N x N matrix for each head between two projections: MH-MLP of Gao et al., "Container", section 3.3."""

from __future__ import annotations

from stmbench.mixers.attention import head_number
from stmbench.mixers.base import Site, register_mixer
from stmbench.mixers.nano import narrow_heads
from stmbench.mixers.static_mixer import StaticMixer, StaticMixerConfig


def config_at(site: Site, *, head_dim: int = 32, heads: int | None = None, resize: bool = True) -> StaticMixerConfig:
    """Heads of `head_dim` channels; `heads`, where given, is their number in every stage instead."""
    count = head_number(site.dim, head_dim, heads)
    return StaticMixerConfig(dim=site.dim, resolution=site.resolution, heads=count, resize=resize)


@register_mixer(
    "mh_mlp",
    config=StaticMixerConfig,
    config_at=config_at,
    title="Multi-Head Token MLP",
    abbreviation="MH-MLP",
    family="MLP",
    sampling="global",
    weights="static",
    method="CONTAINER, Table 2",
    citation="Gao et al., NeurIPS 2021",
    depends_on_n=True,
    palette_slot=16,
    channel_multiple=32,
    presets=narrow_heads(),
)
class MhMlp(StaticMixer):
    """(B, H, W, C) -> (B, H, W, C). The number of its parameters depends on the design resolution."""
