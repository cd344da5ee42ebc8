"""What the mixers of the CoT family share: the static context, the weights made from it, and the split attention.

Li et al., "Contextual Transformer Networks for Visual Recognition", 2021, section 3 and Fig. 2d, in the form of the
authors' code. For an input X, with [.] a concatenation of channels and * the local aggregation:

    K  = ReLU(BN(conv3x3(X)))                                static context
    A  = GroupNorm(conv1x1(ReLU(BN(conv1x1([X, K])))))       9 weights for each place and each of C/8 channels
    Y  = SiLU(BN(A * BN(conv1x1(X))))                        dynamic context
    out = s_1 Y + s_2 K,   (s_1, s_2) = softmax over the two of fc(ReLU(BN(fc(mean over places of Y + K))))

Inside, maps are (B, C, H, W) views of channels-last tensors: convolutions need no copy.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.errors import require
from stmbench.mixers.affinity import StencilAffinity, map_columns, square_offsets
from stmbench.mixers.base import Inert, Mixer, MixerConfig, Site
from stmbench.mixers.local_aggregation import local_sums

SHARED = 8  # channels of the values that share a weight
KERNEL = 3
LEAST = 32  # hidden channels of the split attention
INERT = (
    Inert(
        parameter="split.reduce.bias",
        part="all of it",
        reason="the BatchNorm after it takes it off again in training; the authors' model has it",
        whole=True,
    ),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CotConfig(MixerConfig):
    """`key_groups` of the 3 x 3 convolution; `halves` is 2 where the 1 x 1 convolutions have two groups and each half
    of the channels is aggregated by itself (CoXt)."""

    key_groups: int = 4
    halves: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.halves in (1, 2), "1 or 2 halves", self.halves)
        multiple = SHARED * self.halves
        require(self.dim % multiple == 0, f"a dim divisible by {multiple}", self.dim)
        require(
            self.key_groups >= 1 and self.dim % self.key_groups == 0,
            f"key_groups that divide dim {self.dim}",
            self.key_groups,
        )


def cot_at(site: Site, *, key_groups: int = 4) -> CotConfig:
    """The same everywhere."""
    return CotConfig(dim=site.dim, key_groups=key_groups)


class StaticContext(nn.Sequential):
    """K: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, config: CotConfig) -> None:
        conv = nn.Conv2d(config.dim, config.dim, KERNEL, padding=1, groups=config.key_groups, bias=False)
        super().__init__(conv, nn.BatchNorm2d(config.dim), nn.ReLU())

    def macs(self, height: int, width: int) -> int:
        """Multiply-adds of the convolution."""
        conv = self[0]
        assert isinstance(conv, nn.Conv2d)
        return height * width * conv.weight.numel()


class LocalWeights(nn.Module):
    """A: the input and its static context, (B, C, H, W) each -> (B, C/8 * 9, H, W)."""

    def __init__(self, config: CotConfig) -> None:
        super().__init__()
        dim, self.halves = config.dim, config.halves
        channels = dim // SHARED
        self.reduce = nn.Conv2d(2 * dim, dim // 2, 1, groups=config.halves, bias=False)
        self.norm = nn.BatchNorm2d(dim // 2)
        self.expand = nn.Conv2d(dim // 2, KERNEL**2 * channels, 1, groups=config.halves)
        self.weight_norm = nn.GroupNorm(channels, KERNEL**2 * channels)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Of both halves x and K stand side by side: with two groups they are interleaved channel by channel."""
        # stacked and flattened: x_0, k_0, x_1, k_1, ...
        both = torch.cat([x, context], 1) if self.halves == 1 else torch.stack([x, context], 2).flatten(1, 2)
        found: Tensor = self.weight_norm(self.expand(F.relu(self.norm(self.reduce(both)))))
        return found

    def reference(self, x: Tensor, context: Tensor) -> Tensor:
        """The same, channel by channel: with two groups channel c of x is followed by channel c of K."""
        dim = x.shape[1]
        both = x.new_zeros(x.shape[0], 2 * dim, *x.shape[2:])
        for channel in range(dim):
            first, second = (channel, dim + channel) if self.halves == 1 else (2 * channel, 2 * channel + 1)
            both[:, first], both[:, second] = x[:, channel], context[:, channel]
        found: Tensor = self.weight_norm(self.expand(self.norm(self.reduce(both)).clamp(min=0)))
        return found

    def macs(self, height: int, width: int) -> int:
        """Multiply-adds of the two convolutions."""
        return height * width * (self.reduce.weight.numel() + self.expand.weight.numel())


class SplitAttention(nn.Module):
    """s_1 Y + s_2 K for two maps (B, C, H, W); one pair of shares for each image and channel."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        hidden = max(dim // 2, LEAST)
        self.reduce = nn.Conv2d(dim, hidden, 1)
        self.norm = nn.BatchNorm2d(hidden)
        self.expand = nn.Conv2d(hidden, 2 * dim, 1)

    def forward(self, dynamic: Tensor, static: Tensor) -> Tensor:
        """(B, C, H, W) twice -> (B, C, H, W)."""
        pooled = (dynamic + static).mean((2, 3), keepdim=True)
        logits = self.expand(F.relu(self.norm(self.reduce(pooled))))  # B, 2 C, 1, 1: two for each channel
        shares = logits.unflatten(1, (-1, 2)).softmax(2)
        found: Tensor = dynamic * shares[:, :, 0] + static * shares[:, :, 1]
        return found

    def reference(self, dynamic: Tensor, static: Tensor) -> Tensor:
        """The same with one share: the other is what is left of 1. Channel c has the logits 2 c and 2 c + 1."""
        pooled = dynamic.mean((2, 3), keepdim=True) + static.mean((2, 3), keepdim=True)
        logits = self.expand(self.norm(self.reduce(pooled)).clamp(min=0))
        share = 1 / (1 + (logits[:, 1::2] - logits[:, 0::2]).exp())
        found: Tensor = share * dynamic + (1 - share) * static
        return found

    def macs(self) -> int:
        """Multiply-adds for one image; its size plays no part."""
        return self.reduce.weight.numel() + self.expand.weight.numel()


class Contextual(Mixer):
    """Base of the family, (B, H, W, C) -> (B, H, W, C): both contexts, and `fused` of them by the subclass.

    The affinity is that of the local aggregation, before its BatchNorm and SiLU: `aggregated(x)` is what it gives.
    """

    config: CotConfig
    is_fused: ClassVar[bool] = True  # with split attention

    def __init__(self, config: CotConfig) -> None:
        super().__init__()
        self.config = config
        self.context = StaticContext(config)
        self.weights = LocalWeights(config)
        self.value = nn.Conv2d(config.dim, config.dim, 1, groups=config.halves, bias=False)
        self.value_norm = nn.BatchNorm2d(config.dim)
        self.norm = nn.BatchNorm2d(config.dim)
        self.split = SplitAttention(config.dim) if self.is_fused else None

    def fused(self, dynamic: Tensor, static: Tensor) -> Tensor:
        """The two contexts, (B, C, H, W) each, brought together."""
        assert self.split is not None
        found: Tensor = self.split(dynamic, static)
        return found

    def fused_slowly(self, dynamic: Tensor, static: Tensor) -> Tensor:
        """`fused` as the reference has it."""
        return self.fused(dynamic, static) if self.split is None else self.split.reference(dynamic, static)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        x = x.permute(0, 3, 1, 2)
        static = self.context(x)
        mixed = local_sums(self._value(x), self._taps(x, static), KERNEL, self.config.halves)
        dynamic = F.silu(self.norm(mixed.permute(0, 3, 1, 2)))
        return self.fused(dynamic, static).permute(0, 2, 3, 1)

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
        return self.fused_slowly(dynamic * dynamic.sigmoid(), static).permute(0, 2, 3, 1)

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

    def _value(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, H, W, C)."""
        found: Tensor = self.value_norm(self.value(x))
        return found.permute(0, 2, 3, 1)

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
