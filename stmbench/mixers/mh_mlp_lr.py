"""A static N x N matrix of low rank for each head: MH-MLP-LR of Gao et al., "Container", Table 2.

A_m = L_m R_m^T, of N x r each. The paper does not state r: ours is 0.16 N for each head in every stage, with which the
network of Table 2 has 41.9 M parameters (published: 41.6 M).
"""

from __future__ import annotations

from stmbench.mixers.attention import head_number
from stmbench.mixers.base import Site, register_mixer
from stmbench.mixers.nano import narrow_heads
from stmbench.mixers.static_mixer import StaticMixer, StaticMixerConfig, rank_at


def config_at(
    site: Site, *, head_dim: int = 32, heads: int | None = None, rank_share: float = 0.16, resize: bool = True
) -> StaticMixerConfig:
    """Heads of `head_dim` channels (or `heads` of them), the rank of each a share of the site's tokens."""
    return StaticMixerConfig(
        dim=site.dim,
        resolution=site.resolution,
        heads=head_number(site.dim, head_dim, heads),
        rank=rank_at(site.resolution, rank_share),
        resize=resize,
    )


@register_mixer(
    "mh_mlp_lr",
    config=StaticMixerConfig,
    config_at=config_at,
    title="Multi-Head Token MLP of Low Rank",
    abbreviation="MH-MLP-LR",
    family="MLP",
    sampling="global",
    weights="static",
    method="CONTAINER, Table 2",
    citation="Gao et al., NeurIPS 2021",
    depends_on_n=True,
    palette_slot=18,
    channel_multiple=32,
    presets=narrow_heads(),
)
class MhMlpLr(StaticMixer):
    """(B, H, W, C) -> (B, H, W, C). The number of its parameters depends on the design resolution."""
