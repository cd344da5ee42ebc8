"""What the mixers of the CoT family share: the static context, the weights made from it, and the split attention.

Li et al., "Contextual Transformer Networks for Visual Recognition", 2021, section 3 and Fig. 2d, in the form of the
authors' code. For an input X, with [.] a concatenation of channels and * the local aggregation:

    K  = ReLU(BN(conv3x3(X)))                                static context
    A  = GroupNorm(conv1x1(ReLU(BN(conv1x1([X, K])))))       9 weights for each position and each of C/8 channels
    Y  = SiLU(BN(A * BN(conv1x1(X))))                        dynamic context
    out = s_1 Y + s_2 K,   (s_1, s_2) = softmax over the two of fc(ReLU(BN(fc(mean over positions of Y + K))))

Inside, maps are (B, C, H, W) views of channels-last tensors: convolutions need no copy.
"""

from __future__ import annotations

import dataclasses
import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.errors import require
from stmbench.kernels.contextual import KERNEL as KERNEL
from stmbench.kernels.contextual import SHARED as SHARED
from stmbench.kernels.contextual import Layers
from stmbench.kernels.mix import mixed, pooled
from stmbench.mixers.base import BlockPosition, MixerConfig, ZeroGradient
from stmbench.mixers.ops import are_single, is_eager_on_cpu, is_unchanged, needs_gradient
from stmbench.mixers.ops.patch_conv import PatchConv

LEAST = 32  # hidden channels of the split attention
ENOUGH = 2**12  # size of the smallest map, in numbers, that is worth the calls of the kernel
ENOUGH_TO_MIX = 2**16  # size of the smallest map that is worth the calls of its kernels in training
POSITIONS = 128  # of the smallest map that is worth taking the weights of two halves apart
ZERO_GRADIENT = (
    ZeroGradient(
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


def cot_at(position: BlockPosition, *, key_groups: int = 4) -> CotConfig:
    """The same everywhere."""
    return CotConfig(dim=position.dim, key_groups=key_groups)


class PointwiseConv(nn.Conv2d):
    """A 1 x 1 convolution of (B, C, H, W) views of channels-last maps.

    In one group it is one product of matrices on a CPU, where PyTorch's convolution has one for each image.
    """

    def __init__(self, dim: int, outputs: int, *, groups: int = 1, bias: bool = True) -> None:
        super().__init__(dim, outputs, 1, groups=groups, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, outputs, H, W)."""
        is_plain = (self.kernel_size, self.stride, self.padding, self.groups) == ((1, 1), (1, 1), (0, 0), 1)
        if not is_plain or x.ndim != 4 or "_conv_forward" in vars(self) or not is_eager_on_cpu(x):
            return super().forward(x)
        return F.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class StaticContext(nn.Sequential):
    """K: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, config: CotConfig) -> None:
        conv = PatchConv(config.dim, config.dim, KERNEL, padding=1, groups=config.key_groups, bias=False)
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
        self.reduce = PointwiseConv(2 * dim, dim // 2, groups=config.halves, bias=False)
        self.norm = nn.BatchNorm2d(dim // 2)
        self.expand = PointwiseConv(dim // 2, KERNEL**2 * channels, groups=config.halves)
        self.weight_norm = nn.GroupNorm(channels, KERNEL**2 * channels)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Of both halves x and K stand side by side: with two groups they are interleaved channel by channel."""
        # stacked and flattened: x_0, k_0, x_1, k_1, ...
        both = torch.cat([x, context], 1) if self.halves == 1 else torch.stack([x, context], 2).flatten(1, 2)
        weights: Tensor = self.weight_norm(self.expand(F.relu(self.norm(self.reduce(both)))))
        return weights

    def reference(self, x: Tensor, context: Tensor) -> Tensor:
        """The same, channel by channel: with two groups channel c of x is followed by channel c of K."""
        dim = x.shape[1]
        both = x.new_zeros(x.shape[0], 2 * dim, *x.shape[2:])
        for channel in range(dim):
            first, second = (channel, dim + channel) if self.halves == 1 else (2 * channel, 2 * channel + 1)
            both[:, first], both[:, second] = x[:, channel], context[:, channel]
        weights: Tensor = self.weight_norm(self.expand(self.norm(self.reduce(both)).clamp(min=0)))
        return weights

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
        if self._is_one_pass(dynamic, static):
            maps = dynamic.permute(0, 2, 3, 1), static.permute(0, 2, 3, 1)
            shares = self._shares(pooled(*maps)[..., None, None])
            if are_single(shares) and shares.shape == (*dynamic.shape[:2], 2, 1, 1):  # a hook may have changed them
                return mixed(*maps, *shares[..., 0, 0].unbind(2)).permute(0, 3, 1, 2)
        else:
            shares = self._shares((dynamic + static).mean((2, 3), keepdim=True))
        return dynamic * shares[:, :, 0] + static * shares[:, :, 1]

    def _shares(self, pooled: Tensor) -> Tensor:
        """(B, C, 1, 1) -> (B, C, 2, 1, 1)."""
        logits = self.expand(F.relu(self.norm(self.reduce(pooled))))  # B, 2 C, 1, 1: two for each channel
        shares: Tensor = logits.unflatten(1, (-1, 2)).softmax(2)
        return shares

    def _is_one_pass(self, dynamic: Tensor, static: Tensor) -> bool:
        """Whether the kernels for training are worth their calls, and do the same."""
        if not is_eager_on_cpu(dynamic) or dynamic.ndim != 4 or dynamic.numel() < ENOUGH_TO_MIX:
            return False
        same = dynamic.shape == static.shape
        return same and needs_gradient(dynamic, static) and are_single(dynamic, static)

    def reference(self, dynamic: Tensor, static: Tensor) -> Tensor:
        """The same with one share: the other is what is left of 1. Channel c has the logits 2 c and 2 c + 1."""
        pooled = dynamic.mean((2, 3), keepdim=True) + static.mean((2, 3), keepdim=True)
        logits = self.expand(self.norm(self.reduce(pooled)).clamp(min=0))
        share = 1 / (1 + (logits[:, 1::2] - logits[:, 0::2]).exp())
        mixed: Tensor = share * dynamic + (1 - share) * static
        return mixed

    def macs(self) -> int:
        """Multiply-adds for one image; its size plays no part."""
        return self.reduce.weight.numel() + self.expand.weight.numel()


def layers_of(
    x: Tensor,
    context: StaticContext,
    weights: LocalWeights,
    value: nn.Conv2d,
    value_norm: nn.BatchNorm2d,
    norm: nn.BatchNorm2d,
    split: SplitAttention | None,
    halves: int,
) -> Layers | None:
    """Of a block, for its kernel; None for a small map, or where a part is not what it was built as, or is watched."""
    if split is None or x.numel() < ENOUGH or (halves > 1 and x.shape[:-1].numel() < POSITIONS):
        return None
    whole = {context: StaticContext, weights: LocalWeights, split: SplitAttention}
    if not all(itertools.starmap(is_unchanged, whole.items())) or len(context) != 3:
        return None
    conv, context_norm, relu = context
    pointwise, others = (weights.reduce, weights.expand, value), (split.reduce, split.expand)
    norms = (context_norm, weights.norm, value_norm, norm, split.norm)
    kinds: dict[nn.Module, type[nn.Module]] = dict.fromkeys(pointwise, PointwiseConv)
    kinds |= dict.fromkeys(others, nn.Conv2d)
    kinds |= dict.fromkeys(norms, nn.BatchNorm2d)
    kinds |= {conv: PatchConv, relu: nn.ReLU, weights.weight_norm: nn.GroupNorm}
    if not all(itertools.starmap(is_unchanged, kinds.items())):
        return None
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(context_norm, nn.BatchNorm2d)
    return Layers(
        context=conv,
        context_norm=context_norm,
        reduce=weights.reduce,
        reduce_norm=weights.norm,
        expand=weights.expand,
        weight_norm=weights.weight_norm,
        value=value,
        value_norm=value_norm,
        norm=norm,
        split_reduce=split.reduce,
        split_norm=split.norm,
        split_expand=split.expand,
        halves=halves,
    )
