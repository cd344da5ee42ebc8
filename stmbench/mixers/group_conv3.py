"""A K x K convolution in groups between two projections: Group Conv-3 of Gao et al., "Container", Table 2.

The paper does not state the number of groups. Its 20.5 M parameters are those of 8 to 9 groups; ours are 8, which
divide every width in use and give 20.8 M.
"""

from __future__ import annotations

from stmbench.mixers.base import Site, register_mixer
from stmbench.mixers.conv3 import Conv3, Conv3Config


def config_at(site: Site, *, kernel: int = 3, groups: int = 8) -> Conv3Config:
    """The same kernel size and number of groups everywhere."""
    return Conv3Config(dim=site.dim, kernel=kernel, groups=groups)


@register_mixer(
    "group_conv3",
    config=Conv3Config,
    config_at=config_at,
    title="Group Convolution 3 x 3",
    abbreviation="Group Conv-3",
    family="Convolution",
    sampling="local",
    weights="static",
    shares=("-", "-"),
    method="CONTAINER, Table 2",
    citation="Gao et al., NeurIPS 2021",
    palette_slot=12,
    channel_multiple=8,
)
class GroupConv3(Conv3):
    """(B, H, W, C) -> (B, H, W, C), zero padding outside the map."""
