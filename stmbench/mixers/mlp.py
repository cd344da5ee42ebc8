"""A static N x N matrix between two projections: MLP of Gao et al., "Container", NeurIPS 2021, Table 2 (M = 1)."""

from __future__ import annotations

from stmbench.mixers.base import Site, register_mixer
from stmbench.mixers.static_mixer import StaticMixer, StaticMixerConfig


def config_at(site: Site, *, resize: bool = True) -> StaticMixerConfig:
    """One matrix for the map of the site."""
    return StaticMixerConfig(dim=site.dim, resolution=site.resolution, resize=resize)


@register_mixer(
    "mlp",
    config=StaticMixerConfig,
    config_at=config_at,
    title="Token MLP",
    abbreviation="MLP",
    family="MLP",
    sampling="global",
    weights="static",
    method="CONTAINER, Table 2",
    citation="Gao et al., NeurIPS 2021",
    depends_on_n=True,
    palette_slot=15,
)
class Mlp(StaticMixer):
    """(B, H, W, C) -> (B, H, W, C). The number of its parameters depends on the design resolution."""
