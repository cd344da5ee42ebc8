"""Strip modulation: a mixer of one's own in one file.

    stmbench check examples/my_mixer.py
    stmbench profile --scale micro --plugin examples/my_mixer.py

Convolutional modulation (Hou et al., "Conv2Former", 2022, eqs. 3 and 4) weighs every value by the result of a large
depthwise convolution; here the square kernel is the sum of a row and a column (the strips of Guo et al., "SegNeXt",
NeurIPS 2022), so that the cost grows with K instead of K^2:

    A = (k_row + k_col) * (W_a X),   V = W_v X,   Y = W_out (A . V),   . element by element

The values' weights depend on the input: this is a mixer with local sampling and dynamic weights.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from stmbench.errors import require
from stmbench.mixers.base import BlockPosition, Mixer, MixerConfig, register_mixer


@dataclasses.dataclass(frozen=True, kw_only=True)
class StripModulationConfig(MixerConfig):
    """Strips of `kernel` pixels; odd, so that a strip has a centre."""

    kernel: int = 11

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.kernel >= 1 and self.kernel % 2 == 1, "an odd kernel >= 1", self.kernel)


def config_at(position: BlockPosition, *, kernel: int = 11) -> StripModulationConfig:
    """A strip is never longer than twice the map it is meant for: what is beyond would only meet zeros."""
    longest = 2 * max(position.resolution) - 1
    return StripModulationConfig(dim=position.dim, kernel=min(kernel, longest))


@register_mixer(
    "strip_modulation",
    config=StripModulationConfig,
    config_at=config_at,
    title="Strip Modulation",
    abbreviation="Strip-Mod",
    family="Convolution",
    sampling="local",
    weights="dynamic",
    method="after Conv2Former, SegNeXt",
    citation="Hou et al., 2022; Guo et al., NeurIPS 2022",
)
class StripModulation(Mixer):
    """(B, H, W, C) -> (B, H, W, C), zero padding outside the map."""

    config: StripModulationConfig

    def __init__(self, config: StripModulationConfig) -> None:
        super().__init__()
        self.config = config
        dim, kernel, radius = config.dim, config.kernel, config.kernel // 2
        self.context = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.row = nn.Conv2d(dim, dim, (1, kernel), padding=(0, radius), groups=dim)
        self.column = nn.Conv2d(dim, dim, (kernel, 1), padding=(radius, 0), groups=dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        context = self.context(x).permute(0, 3, 1, 2)  # (B, C, H, W), a channels_last view
        weights = (self.row(context) + self.column(context)).permute(0, 2, 3, 1)
        mixed: Tensor = self.proj(weights * self.value(x))
        return mixed

    def reference(self, x: Tensor) -> Tensor:
        """The strips as sums over their taps of shifted maps."""
        height, width = x.shape[1:3]
        kernel, radius = self.config.kernel, self.config.kernel // 2
        padded = nn.functional.pad(self.context(x), (0, 0, radius, radius, radius, radius))
        assert self.row.bias is not None
        assert self.column.bias is not None
        weights = torch.zeros_like(x) + self.row.bias + self.column.bias
        for tap in range(kernel):
            weights = weights + padded[:, radius : radius + height, tap : tap + width] * self.row.weight[:, 0, 0, tap]
            weights = (
                weights + padded[:, tap : tap + height, radius : radius + width] * self.column.weight[:, 0, tap, 0]
            )
        mixed: Tensor = self.proj(weights * self.value(x))
        return mixed

    def macs(self, height: int, width: int) -> int:
        """3 N C^2 for the projections and 2 N K C for the strips; the product of A and V is no multiply-add."""
        dim = self.config.dim
        return height * width * (3 * dim * dim + 2 * self.config.kernel * dim)
