"""Contextual Transformer blocks: the static and the dynamic context of a 3 x 3 neighbourhood, fused by split attention.

Li et al., "Contextual Transformer Networks for Visual Recognition", 2021, section 3 and Fig. 2d, in the form of the
authors' code. For an input X, with [.] a concatenation of channels and * the local aggregation:

    K  = ReLU(BN(conv3x3(X)))                                static context
    A  = GroupNorm(conv1x1(ReLU(BN(conv1x1([X, K])))))       9 weights for each position and each of C/8 channels
    Y  = SiLU(BN(A * BN(conv1x1(X))))                        dynamic context
    out = s_1 Y + s_2 K,   (s_1, s_2) = softmax over the two of fc(ReLU(BN(fc(mean over positions of Y + K))))

    cot                 the block of CoTNet (section 3.2)
    cot_static          K alone (Table 5)
    cot_dynamic         Y alone (Table 5)
    cot_linear_fusion   Y + K (Table 5)
    coxt                the block of CoTNeXt (section 3.3)
"""

from __future__ import annotations

import itertools
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.kernels.contextual import Layers, contextual
from stmbench.mixers.affinity import StencilAffinity, map_columns, square_offsets
from stmbench.mixers.base import BlockPosition, Mixer, register_mixer
from stmbench.mixers.ops import has_its_methods, is_eager_on_cpu, takes_single
from stmbench.mixers.ops.contextual import (
    KERNEL,
    SHARED,
    ZERO_GRADIENT,
    CotConfig,
    LocalWeights,
    PointwiseConv,
    SplitAttention,
    StaticContext,
    cot_at,
    layers_of,
)
from stmbench.mixers.ops.neighbourhood_sums import local_sums


class Contextual(Mixer):
    """Base of the family, (B, H, W, C) -> (B, H, W, C): both contexts, and `fuse` of them by the subclass.

    The affinity is that of the local aggregation, before its BatchNorm and SiLU: `aggregated(x)` is what it gives.
    """

    config: CotConfig
    is_fused: ClassVar[bool] = True  # with split attention

    def __init__(self, config: CotConfig) -> None:
        super().__init__()
        self.config = config
        self.context = StaticContext(config)
        self.weights = LocalWeights(config)
        self.value = PointwiseConv(config.dim, config.dim, groups=config.halves, bias=False)
        self.value_norm = nn.BatchNorm2d(config.dim)
        self.norm = nn.BatchNorm2d(config.dim)
        self.split = SplitAttention(config.dim) if self.is_fused else None

    def fuse(self, dynamic: Tensor, static: Tensor) -> Tensor:
        """The two contexts, (B, C, H, W) each, brought together."""
        assert self.split is not None
        return self.split(dynamic, static)  # type: ignore[no-any-return]

    def fuse_reference(self, dynamic: Tensor, static: Tensor) -> Tensor:
        """`fuse` as the reference has it."""
        return self.fuse(dynamic, static) if self.split is None else self.split.reference(dynamic, static)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        layers = self._layers(x) if is_eager_on_cpu(x) else None
        if layers is not None and takes_single(x, *layers.tensors) and layers.fit(x):
            return contextual(x, layers)
        x = x.permute(0, 3, 1, 2)
        static = self.context(x)
        mixed = local_sums(self._value(x), self._taps(x, static), KERNEL, self.config.halves)
        dynamic = F.silu(self.norm(mixed.permute(0, 3, 1, 2)))
        return self.fuse(dynamic, static).permute(0, 2, 3, 1)

    def reference(self, x: Tensor) -> Tensor:
        """The same map with the aggregation tap by tap and channel by channel."""
        x = x.permute(0, 3, 1, 2)
        static = self.context(x)
        weights, value = self.weights.reference(x, static), self.value_norm(self.value(x))
        dim, halves = self.config.dim, self.config.halves
        height, width = x.shape[2:]
        padded, mixed = F.pad(value, (1, 1, 1, 1)), torch.zeros_like(value)
        half, own = dim // halves, dim // SHARED // halves  # channels, and weight channels, of a half
        for channel in range(dim):
            group = channel // half * own + channel % half % own
            for tap in range(KERNEL**2):
                row, column = divmod(tap, KERNEL)
                shifted = padded[:, channel, row : row + height, column : column + width]
                mixed[:, channel] += weights[:, group * KERNEL**2 + tap] * shifted
        dynamic = self.norm(mixed)
        return self.fuse_reference(dynamic * dynamic.sigmoid(), static).permute(0, 2, 3, 1)

    def affinity(self, x: Tensor) -> StencilAffinity:
        """(B, H, W, C) -> (B, C/8, H * W, H * W), of the local aggregation."""
        batch, height, width, _ = x.shape
        channels_first = x.permute(0, 3, 1, 2)
        taps = self._taps(channels_first, self.context(channels_first))  # 9, B, H, W, C/8
        weights = taps.permute(1, 4, 2, 3, 0).reshape(batch, -1, height * width, KERNEL**2)
        columns = map_columns(height, width, device=x.device)
        return StencilAffinity(weights, square_offsets(KERNEL, x.device), columns, kind="dynamic", batch=batch)

    def values(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, C/8, H * W, 8): the channels that share a weight."""
        return self._by_weight(self._value(x.permute(0, 3, 1, 2)))

    def aggregated(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, C/8, H * W, 8): what the local aggregation gives."""
        x = x.permute(0, 3, 1, 2)
        return self._by_weight(local_sums(self._value(x), self._taps(x, self.context(x)), KERNEL, self.config.halves))

    def macs(self, height: int, width: int) -> int:
        """N (9 C^2 / groups + 25/16 C^2 / halves + C^2 / halves + 9 C), and what the split attention costs."""
        dim = self.config.dim
        rest = height * width * (self.value.weight.numel() + KERNEL**2 * dim)
        split = 0 if self.split is None else self.split.macs()
        return self.context.macs(height, width) + self.weights.macs(height, width) + rest + split

    def _layers(self, x: Tensor) -> Layers | None:
        """For the kernel; None for a subclass, which may do something else."""
        parts = self.context, self.weights, self.value, self.value_norm, self.norm, self.split
        has_kernel = type(self) in COMPILED and has_its_methods(self, type(self))
        return layers_of(x, *parts, self.config.halves) if has_kernel else None

    def _value(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, H, W, C)."""
        values: Tensor = self.value_norm(self.value(x))
        return values.permute(0, 2, 3, 1)

    def _taps(self, x: Tensor, static: Tensor) -> Tensor:
        """The weights as (9, B, H, W, C/8)."""
        weights: Tensor = self.weights(x, static)
        batch, channels, height, width = weights.shape
        return weights.reshape(batch, channels // KERNEL**2, KERNEL**2, height, width).permute(2, 0, 3, 4, 1)

    def _by_weight(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, C/8, H * W, 8), heads being the channels of the weights."""
        batch, height, width, dim = x.shape
        halves = self.config.halves
        x = x.reshape(batch, height * width, halves, SHARED, dim // SHARED // halves)
        return x.permute(0, 2, 4, 1, 3).reshape(batch, dim // SHARED, height * width, SHARED)


@register_mixer(
    "cot",
    config=CotConfig,
    config_at=cot_at,
    title="Contextual Transformer Block",
    abbreviation="CoT",
    family="Dynamic Convolution",
    sampling="local",
    weights="both",
    method="CoTNet",
    citation="Li et al., 2021",
    zero_gradient=ZERO_GRADIENT,
    mixing_weights=("-", "-"),  # the split of the contexts is no pair of numbers
    palette_slot=9,
    channel_multiple=8,
)
class Cot(Contextual):
    """(B, H, W, C) -> (B, H, W, C)."""


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
    mixing_weights=("-", "-"),  # it sums over channels
    palette_slot=12,
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
        context: Tensor = self.context(x.permute(0, 3, 1, 2))
        return context.permute(0, 2, 3, 1)

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
        normed: Tensor = norm(y.permute(0, 3, 1, 2))
        return normed.relu().permute(0, 2, 3, 1)

    def macs(self, height: int, width: int) -> int:
        """9 N C^2 / groups."""
        return self.context.macs(height, width)


@register_mixer(
    "cot_dynamic",
    config=CotConfig,
    config_at=cot_at,
    title="CoT, Dynamic Context",
    abbreviation="CoT-dyn",
    family="Dynamic Convolution",
    sampling="local",
    weights="dynamic",
    method="CoTNet, Table 5",
    citation="Li et al., 2021",
    palette_slot=13,
    channel_multiple=8,
)
class CotDynamic(Contextual):
    """(B, H, W, C) -> (B, H, W, C)."""

    is_fused: ClassVar[bool] = False

    def fuse(self, dynamic: Tensor, static: Tensor) -> Tensor:
        """Y."""
        return dynamic


@register_mixer(
    "cot_linear_fusion",
    config=CotConfig,
    config_at=cot_at,
    title="CoT, Linear Fusion",
    abbreviation="CoT-lin",
    family="Dynamic Convolution",
    sampling="local",
    weights="both",
    method="CoTNet, Table 5",
    citation="Li et al., 2021",
    mixing_weights=("-", "-"),  # the static context sums over channels
    palette_slot=14,
    channel_multiple=8,
)
class CotLinearFusion(Contextual):
    """(B, H, W, C) -> (B, H, W, C)."""

    is_fused: ClassVar[bool] = False

    def fuse(self, dynamic: Tensor, static: Tensor) -> Tensor:
        """Y + K."""
        return dynamic + static

    def fuse_reference(self, dynamic: Tensor, static: Tensor) -> Tensor:
        """The sum of the two as they stand side by side."""
        return torch.stack((dynamic, static)).sum(0)


def coxt_at(position: BlockPosition, *, key_groups: int = 8) -> CotConfig:
    """The same everywhere."""
    return CotConfig(dim=position.dim, key_groups=key_groups, halves=2)


@register_mixer(
    "coxt",
    config=CotConfig,
    config_at=coxt_at,
    title="Contextual Transformer Block, Two Halves",
    abbreviation="CoXt",
    family="Dynamic Convolution",
    sampling="local",
    weights="both",
    method="CoTNeXt",
    citation="Li et al., 2021",
    zero_gradient=ZERO_GRADIENT,
    mixing_weights=("-", "-"),  # the split of the contexts is no pair of numbers
    palette_slot=15,
    channel_multiple=16,
)
class Coxt(Contextual):
    """(B, H, W, C) -> (B, H, W, C)."""


COMPILED = (Cot, Coxt)  # that have a kernel
