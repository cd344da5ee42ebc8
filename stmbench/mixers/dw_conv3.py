"""A 3 x 3 depthwise convolution between two projections: DW-3 of Gao et al., "Container", NeurIPS 2021, Table 2.

It is `dw_conv` with a smaller kernel: Y = W_out (k * (V)), V = W_v X, one 3 x 3 kernel for each channel (eq. 5).
"""

from __future__ import annotations

from stmbench.mixers.base import BlockPosition, register_mixer
from stmbench.mixers.dw_conv import DwConv, DwConvConfig


def config_at(position: BlockPosition, *, kernel: int = 3) -> DwConvConfig:
    """The same kernel size everywhere."""
    return DwConvConfig(dim=position.dim, kernel=kernel)


@register_mixer(
    "dw_conv3",
    config=DwConvConfig,
    config_at=config_at,
    title="Depth-Wise Convolution 3 x 3",
    abbreviation="DW-3",
    family="Convolution",
    sampling="local",
    weights="static",
    method="CONTAINER, Table 2",
    citation="Gao et al., NeurIPS 2021",
    palette_slot=17,
)
class DwConv3(DwConv):
    """(B, H, W, C) -> (B, H, W, C), zero padding outside the map."""
