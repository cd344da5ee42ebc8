"""The static context of a CoT block alone (Li et al. 2021, Table 5): a grouped 3 x 3 convolution, BatchNorm, ReLU."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.mixers.base import Mixer, register_mixer
from stmbench.mixers.contextual import KERNEL, CotConfig, StaticContext, cot_at


@register_mixer(
    "cot_static",
    config=CotConfig,
    config_at=cot_at,
    title="CoT, Static Context",
    abbreviation="CoT-stat",
    family="Convolution",
    sampling="local",
    weights="static",
    method="CoTNet, Table 5",
    citation="Li et al., 2021",
    shares=("-", "-"),  # it sums over channels
    palette_slot=6,
    channel_multiple=8,
)
class CotStatic(Mixer):
    """(B, H, W, C) -> (B, H, W, C). It sums over the channels of a group, so it has no affinity."""

    config: CotConfig

    def __init__(self, config: CotConfig) -> None:
        super().__init__()
        self.config = config
        self.context = StaticContext(config)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        found: Tensor = self.context(x.permute(0, 3, 1, 2))
        return found.permute(0, 2, 3, 1)

    def reference(self, x: Tensor) -> Tensor:
        """The same map as a sum over the taps of products with each group's matrix."""
        conv, norm, height, width = self.context[0], self.context[1], x.shape[1], x.shape[2]
        assert isinstance(conv, nn.Conv2d)
        groups, own = self.config.key_groups, self.config.dim // self.config.key_groups
        padded = F.pad(x, (0, 0, 1, 1, 1, 1)).reshape(x.shape[0], height + 2, width + 2, groups, own)
        kernel = conv.weight.reshape(groups, own, own, KERNEL, KERNEL)  # groups, out, in, K, K
        y = torch.zeros_like(x)
        for row, column in itertools.product(range(KERNEL), repeat=2):
            shifted = padded[:, row : row + height, column : column + width]
            y = y + torch.einsum("bhwgi,goi->bhwgo", shifted, kernel[..., row, column]).flatten(3)
        found: Tensor = norm(y.permute(0, 3, 1, 2))
        return found.relu().permute(0, 2, 3, 1)

    def macs(self, height: int, width: int) -> int:
        """9 N C^2 / groups."""
        return self.context.macs(height, width)
