"""Involution: every position has a kernel of its own, made from its channels and shared by groups of channels.

Li et al., "Involution: Inverting the Inherence of Convolution for Visual Recognition", CVPR 2021, section 3 (eqs. 4 to
6). With the K x K neighbourhood of position p, zero outside the map, and group g of the channels:

    Y_g(p) = sum_t H_gt(p) X_g(p + t),   H(p) = W_1 ReLU(BN(W_0 X(p)))

The kernels are not normalised, and there is no projection of values or output, as in the authors' code.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_linear_bn_eval

from stmbench.errors import require
from stmbench.mixers import presets
from stmbench.mixers.affinity import StencilAffinity, join_heads, map_columns, split_into_heads, square_offsets
from stmbench.mixers.base import Mixer, MixerConfig, register_mixer
from stmbench.mixers.ops import renamed
from stmbench.mixers.ops.neighbourhood_sums import group_sums


@dataclasses.dataclass(frozen=True, kw_only=True)
class InvolutionConfig(MixerConfig):
    """A `kernel` x `kernel` neighbourhood; `group_dim` channels share a kernel, which is made from dim / `reduction`
    channels."""

    kernel: int = 7
    group_dim: int = 16
    reduction: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.kernel >= 1 and self.kernel % 2 == 1, "an odd kernel >= 1", self.kernel)
        for name, part in (("group_dim", self.group_dim), ("reduction", self.reduction)):
            require(part >= 1 and self.dim % part == 0, f"a {name} that divides dim {self.dim}", part)

    @property
    def groups(self) -> int:
        """Kernels at each position."""
        return self.dim // self.group_dim


@register_mixer(
    "involution",
    config=InvolutionConfig,
    title="Involution",
    abbreviation="Involution",
    family="Dynamic Convolution",
    sampling="local",
    weights="dynamic",
    method="RedNet",
    citation="Li et al., CVPR 2021",
    channel_multiple=16,
    palette_slot=36,
    presets=presets.matched((2, 2, 16, 3), (2, 2, 6, 2), micro_dims=(32, 64, 128, 320), tiny_dims=(112, 224, 448, 896)),
)
class Involution(Mixer):
    """(B, H, W, C) -> (B, H, W, C), zero padding outside the map."""

    config: InvolutionConfig

    def __init__(self, config: InvolutionConfig) -> None:
        super().__init__()
        self.config = config
        hidden = config.dim // config.reduction
        self.reduce = nn.Linear(config.dim, hidden, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(hidden)
        self.expand = nn.Linear(hidden, config.groups * config.kernel**2)  # group by group, taps row by row

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        return group_sums(x, self._kernels(x), self.config.kernel)

    def reference(self, x: Tensor) -> Tensor:
        """The same map tap by tap, with each channel's own entry of the kernels."""
        config, (_, height, width, dim) = self.config, x.shape
        outputs = self.expand(self.norm(self.reduce(x).permute(0, 3, 1, 2)).clamp(min=0).permute(0, 2, 3, 1))
        radius = config.kernel // 2
        padded = F.pad(x, (0, 0, radius, radius, radius, radius))
        y = x.new_zeros(x.shape)
        for down in range(config.kernel):
            for right in range(config.kernel):
                tap = down * config.kernel + right
                entry = [channel // config.group_dim * config.kernel**2 + tap for channel in range(dim)]
                y = y + padded[:, down : down + height, right : right + width] * outputs[..., entry]
        return y

    def affinity(self, x: Tensor) -> StencilAffinity:
        """(B, H, W, C) -> (B, groups, H * W, H * W)."""
        batch, height, width, _ = x.shape
        weights = self._kernels(x).flatten(1, 2).transpose(1, 2)  # B, groups, N, K^2
        columns = map_columns(height, width, device=x.device)
        return StencilAffinity(
            weights, square_offsets(self.config.kernel, x.device), columns, kind="dynamic", batch=batch
        )

    def values(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, groups, H * W, C / groups): the input itself."""
        return split_into_heads(x, self.config.groups)

    def project(self, mixed: Tensor, height: int, width: int) -> Tensor:
        """(B, groups, H * W, C / groups) -> (B, H, W, C)."""
        return join_heads(mixed, height, width)

    def merge(self) -> Involution:
        """The BatchNorm becomes part of the linear layer before it."""
        if not isinstance(self.norm, nn.BatchNorm2d):
            return self
        merged = copy.deepcopy(self).eval()
        assert isinstance(merged.norm, nn.BatchNorm2d)
        merged.reduce, merged.norm = fuse_linear_bn_eval(merged.reduce, merged.norm), nn.Identity()
        return merged

    def from_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The authors' names; their 1 x 1 convolutions are linear layers here."""
        return renamed(state, {"conv1.conv.": "reduce.", "conv1.bn.": "norm.", "conv2.conv.": "expand."})

    def macs(self, height: int, width: int) -> int:
        """N C / r (C + groups K^2) for the kernels of C / r hidden channels, N K^2 C for the sums."""
        config = self.config
        taps = config.kernel**2
        hidden = config.dim // config.reduction
        return height * width * (hidden * (config.dim + config.groups * taps) + taps * config.dim)

    def _kernels(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, groups, K^2)."""
        hidden = F.relu(self.norm(self.reduce(x).permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
        return torch.unflatten(self.expand(hidden), -1, (self.config.groups, -1))
