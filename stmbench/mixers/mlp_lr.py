"""A static N x N matrix of low rank between two projections: MLP-LR of Gao et al., "Container", Table 2.

A = L R^T, L and R of N x r. The paper does not state r: ours is 0.275 N in every stage, with which the network of
Table 2 has the published 36.5 M parameters.
"""

from __future__ import annotations

from stmbench.mixers.base import Site, register_mixer
from stmbench.mixers.static_mixer import StaticMixer, StaticMixerConfig, rank_at


def config_at(site: Site, *, rank_share: float = 0.275, resize: bool = True) -> StaticMixerConfig:
    """One matrix for the map of the site, its rank a share of the site's tokens."""
    rank = rank_at(site.resolution, rank_share)
    return StaticMixerConfig(dim=site.dim, resolution=site.resolution, rank=rank, resize=resize)


@register_mixer(
    "mlp_lr",
    config=StaticMixerConfig,
    config_at=config_at,
    title="Token MLP of Low Rank",
    abbreviation="MLP-LR",
    family="MLP",
    sampling="global",
    weights="static",
    method="CONTAINER, Table 2",
    citation="Gao et al., NeurIPS 2021",
    depends_on_n=True,
    palette_slot=17,
)
class MlpLr(StaticMixer):
    """(B, H, W, C) -> (B, H, W, C). The number of its parameters depends on the design resolution."""
