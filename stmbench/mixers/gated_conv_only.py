"""A gated convolution without a state-space model: the token mixer of MambaOut, as a control for state-space mixers.

Yu and Wang, "MambaOut: Do We Really Need Mamba for Vision?", CVPR 2025, section 3.3 and algorithm 1 (the gated CNN
block of Dauphin et al., ICML 2017). With C_h = floor(8/3 C) hidden channels, the last of which are convolved,

    (G, I, V) = W_in X,   Y = W_out (gelu(G) . (I, k * V)),   one 7 x 7 kernel for each channel of V

The expansion is the network's MLP as well: MambaOut has no other. Here the architecture's MLP follows, except with
`layout=authors`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.errors import require
from stmbench.mixers import presets
from stmbench.mixers.affinity import StencilAffinity, map_columns, split_into_heads, square_offsets
from stmbench.mixers.base import Mixer, MixerConfig, register_mixer
from stmbench.mixers.ops.depthwise import DepthwiseConv, depthwise_conv
from stmbench.mixers.ops.neighbourhood_sums import kernel_sum

PUBLISHED = {"fc1": "proj_in", "fc2": "proj_out"}
BLOCK_ONLY = ("norm.", "ls.")  # of the authors' block: they belong to the architecture here


@dataclasses.dataclass(frozen=True, kw_only=True)
class GatedConvOnlyConfig(MixerConfig):
    """`expansion` x dim hidden channels; `conv_ratio` x dim of them are convolved, `kernel` x `kernel` (odd)."""

    expansion: float = 8 / 3
    conv_ratio: float = 1.0
    kernel: int = 7

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.kernel >= 1 and self.kernel % 2 == 1, "an odd kernel >= 1", self.kernel)
        require(self.hidden >= 1, f"dim x expansion >= 1, with an expansion of {self.expansion:g}", self.dim)
        most = f"1 to {self.hidden} convolved channels (dim x conv_ratio)"
        require(1 <= self.conv_channels <= self.hidden, most, self.conv_channels)

    @property
    def hidden(self) -> int:
        """C_h."""
        return int(self.expansion * self.dim)

    @property
    def conv_channels(self) -> int:
        """Those that are convolved."""
        return int(self.conv_ratio * self.dim)


@register_mixer(
    "gated_conv_only",
    config=GatedConvOnlyConfig,
    title="Gated Convolution",
    abbreviation="Gated-Conv",
    family="Control",
    sampling="local",
    weights="static",
    method="MambaOut",
    citation="Yu and Wang, CVPR 2025",
    palette_slot=43,
    presets=presets.matched((2, 2, 9, 2), (2, 2, 4, 2)),
    layouts=presets.tiny_layout((96, 192, 384, 576), (3, 3, 9, 3), (0, 0, 0, 0)),
)
class GatedConvOnly(Mixer):
    """(B, H, W, C) -> (B, H, W, C), zero padding outside the map. The gate is each position's own."""

    config: GatedConvOnlyConfig

    def __init__(self, config: GatedConvOnlyConfig) -> None:
        super().__init__()
        self.config = config
        convolved, side = config.conv_channels, config.kernel
        self.proj_in = nn.Linear(config.dim, 2 * config.hidden)
        self.conv = DepthwiseConv(convolved, side)
        self.proj_out = nn.Linear(config.hidden, config.dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        hidden, convolved = self.config.hidden, self.config.conv_channels
        gate, left, values = torch.split(self.proj_in(x), [hidden, hidden - convolved, convolved], dim=-1)
        mixed = self.conv(values)
        y: Tensor = self.proj_out(F.gelu(gate) * torch.cat((left, mixed), dim=-1))
        return y

    def reference(self, x: Tensor) -> Tensor:
        """The same map with the convolution as a sum over taps, and GELU by its formula."""
        assert self.conv.bias is not None
        gate, values = self.proj_in(x).tensor_split(2, dim=-1)
        convolved = torch.arange(self.config.hidden, device=x.device) >= self.config.hidden - len(self.conv.bias)
        spread = torch.zeros_like(values)
        spread[..., ~convolved] = values[..., ~convolved]
        spread[..., convolved] = kernel_sum(values[..., convolved], self.conv.weight[:, 0]) + self.conv.bias
        y: Tensor = self.proj_out(gate * (1 + torch.erf(gate / 2**0.5)) / 2 * spread)
        return y

    def affinity(self, x: Tensor) -> StencilAffinity:
        """(B, H, W, C) -> (B, C_h, H * W, H * W): every hidden channel is a head."""
        batch, height, width, _ = x.shape
        hidden, side = self.config.hidden, self.config.kernel
        kernels = self.conv.weight.new_zeros(hidden, side, side)
        kernels[:, side // 2, side // 2] = 1  # what is not convolved
        kernels[hidden - self.config.conv_channels :] = self.conv.weight[:, 0]
        return StencilAffinity(
            kernels.view(1, hidden, 1, side * side),
            square_offsets(side, x.device),
            map_columns(height, width, device=x.device),
            kind="static",
            batch=batch,
        )

    def values(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, C_h, H * W, 1)."""
        return split_into_heads(self.proj_in(x)[..., self.config.hidden :], self.config.hidden)

    def aggregated(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, C_h, H * W, 1): what the kernels give. Their bias and the gate come after."""
        hidden, convolved = self.config.hidden, self.config.conv_channels
        _, left, values = torch.split(self.proj_in(x), [hidden, hidden - convolved, convolved], dim=-1)
        mixed = depthwise_conv(values, self.conv.weight)
        return split_into_heads(torch.cat((left, mixed), dim=-1), hidden)

    def macs(self, height: int, width: int) -> int:
        """3 N C C_h for the projections and N K^2 C_v for the convolution of C_v channels."""
        linear = 3 * self.config.dim * self.config.hidden
        return height * width * (linear + self.config.kernel**2 * self.config.conv_channels)

    def from_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state dict of timm's `GatedConvBlock`, without its norm and layer scale."""
        kept = {name: value for name, value in state.items() if not name.startswith(BLOCK_ONLY)}
        names = ((name, *name.partition(".")) for name in kept)
        return {PUBLISHED.get(layer, layer) + dot + rest: kept[name] for name, layer, dot, rest in names}
