"""Residual blocks around a mixer, and the stage that holds them. A block never asks which mixer it holds."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from stmbench.architectures.base import REMEDY
from stmbench.architectures.layers import Mlp, resized_position
from stmbench.architectures.timm_layers import drop_path
from stmbench.errors import require
from stmbench.kernels import mlp as kernels
from stmbench.kernels.mlp_training import residual_mlp_training
from stmbench.kernels.residual import scaled_residual
from stmbench.mixers.ops import are_single, in_place_of, is_eager_on_cpu, is_unchanged, needs_gradient

ENOUGH = 2**15  # size of the smallest map, in numbers, whose MLP is worth the calls of its kernel
# measured, for kernels with a gradient: the fewest hidden units of all tokens, or numbers of a map, and channels
ENOUGH_IN_TRAINING, WIDE = 2**18, 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockConfig:
    """What a block takes besides its mixer.

    Attributes:
        dim: channels.
        mlp_ratio: hidden units of the MLP over `dim`; 0 for a block without an MLP.
        drop_path: probability of dropping a residual branch in training (stochastic depth, Huang et al. 2016).
        scale: first value of the layer scale (Touvron et al. 2021), None for no layer scale.
    """

    dim: int
    mlp_ratio: float
    norm_eps: float
    drop_path: float
    scale: float | None = 1e-6

    def __post_init__(self) -> None:
        expected = f"an MLP of at least one hidden unit for dim {self.dim}, or an MLP ratio of 0 for none"
        require(self.mlp_ratio == 0 or self.hidden >= 1, expected, self.mlp_ratio, REMEDY)

    @property
    def hidden(self) -> int:
        """Hidden units of the MLP."""
        return int(self.dim * self.mlp_ratio)

    def require_mlp(self) -> None:
        """Raise ConfigError for a block that is nothing without its MLP."""
        require(self.mlp_ratio > 0, "an MLP ratio > 0 for this architecture and design", self.mlp_ratio, REMEDY)


def transformer_block(mixer: nn.Module, config: BlockConfig) -> MixerBlock:
    """A block with an MLP, or without one where its ratio is 0."""
    return TransformerBlock(mixer, config) if config.mlp_ratio else MixerBlock(mixer, config)


class MixerBlock(nn.Module):
    """x + s * mixer(LN(x)), for mixers that hold the network's MLP (MambaOut). (B, H, W, C) -> (B, H, W, C)."""

    def __init__(self, mixer: nn.Module, config: BlockConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.mixer = mixer
        self.branch1 = Branch(config)

    def forward(self, x: Tensor, position: Tensor | None = None) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C). A position embedding goes into the mixer alone."""
        return cast(Tensor, self.branch1(x, self.mixer(self.norm1(x if position is None else x + position))))

    def macs(self, height: int, width: int) -> dict[str, int]:
        """Multiply-adds besides the mixer's: none."""
        return {}


class TransformerBlock(MixerBlock):
    """x + s1 * mixer(LN(x)), then x + s2 * mlp(LN(x)) (Hu et al., Fig. 2a). (B, H, W, C) -> (B, H, W, C)."""

    def __init__(self, mixer: nn.Module, config: BlockConfig) -> None:
        super().__init__(mixer, config)
        self.norm2 = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.mlp = Mlp(config.dim, config.hidden)
        self.branch2 = Branch(config)

    def forward(self, x: Tensor, position: Tensor | None = None) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C). A position embedding goes into the mixer alone."""
        x = super().forward(x, position)
        return residual_mlp(x, x, self.norm2, self.mlp, self.branch2)

    def macs(self, height: int, width: int) -> dict[str, int]:
        """Multiply-adds besides the mixer's, by part of the network."""
        return {"mlps": self.mlp.macs(height, width)}


class ConvNextBlock(nn.Module):
    """x + s * mlp(LN(mixer(x))), one residual (Liu et al. 2022, Fig. 4; Hu et al., Fig. 4 D). (B, H, W, C) -> same."""

    def __init__(self, mixer: nn.Module, config: BlockConfig) -> None:
        super().__init__()
        config.require_mlp()
        self.mixer = mixer
        self.norm1 = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.mlp = Mlp(config.dim, config.hidden)
        self.branch1 = Branch(config)

    def forward(self, x: Tensor, position: Tensor | None = None) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C). A position embedding goes into the mixer alone."""
        mixed = self.mixer(x if position is None else x + position)
        return residual_mlp(x, mixed, self.norm1, self.mlp, self.branch1)

    def macs(self, height: int, width: int) -> dict[str, int]:
        """Multiply-adds besides the mixer's, by part of the network."""
        return {"mlps": self.mlp.macs(height, width)}


class Branch(nn.Module):
    """The end of a residual branch: x + drop_path(scale * y), with one learned scale per channel (layer scale)."""

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        self.scale = None if config.scale is None else nn.Parameter(torch.full((config.dim,), float(config.scale)))
        self.drop_path = drop_path(config.drop_path)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """x and y (B, H, W, C) -> (B, H, W, C)."""
        if self._is_one_pass(x, y):
            assert self.scale is not None
            return scaled_residual(x, y, self.scale, self.part(x))
        if self.drops:
            dropped: Tensor = x + self.drop_path(y if self.scale is None else self.scale * y)
            return dropped
        return x + y if self.scale is None else torch.addcmul(x, self.scale, y)  # one pass over memory

    def _is_one_pass(self, x: Tensor, y: Tensor) -> bool:
        """Whether the kernel for training is worth its call, and does the same."""
        scale = self._parameters.get("scale")  # one that is made anew each time it is asked for is made once
        if scale is None or not is_eager_on_cpu(x) or x.numel() < ENOUGH_IN_TRAINING or x.shape != y.shape:
            return False
        is_own = x.ndim > 1 and scale.shape == x.shape[-1:]
        is_own = is_own and (not self.drops or is_unchanged(self.drop_path, _drop_path()))
        return is_own and needs_gradient(x, y, scale) and are_single(x, y, scale)

    @property
    def drops(self) -> bool:
        """Whether branches are dropped now."""
        return self.training and self.drop_path.drop_prob > 0

    def part(self, x: Tensor) -> Tensor | None:
        """(B,), how much of its branch each of B images takes this time; None for all of it."""
        return self.drop_path(x.new_ones(len(x), 1)).flatten() if self.drops else None


@functools.cache
def _drop_path() -> type[nn.Module]:
    return type(drop_path(0.0))


def residual_mlp(x: Tensor, y: Tensor, norm: nn.Module | None, mlp: Mlp, branch: Branch) -> Tensor:
    """branch(x, mlp(norm(y))): x and y (B, H, W, C) -> (B, H, W, C), some tokens at a time where that is the same.

    To stamps, which cannot look into the kernel, all of it is the MLP.
    """
    weights = _weights(norm, mlp, branch) if is_eager_on_cpu(x) and x.numel() >= ENOUGH else None
    if weights is None or not are_single(x, y, *weights.tensors) or not weights.fit(x, y):
        return cast(Tensor, branch(x, mlp(y if norm is None else norm(y))))
    if not branch.drops and not needs_gradient(x, y, *weights.tensors):
        return in_place_of(mlp, lambda: kernels.residual_mlp(x, y, weights))
    hidden, dim = weights.up.shape
    if dim < WIDE or x.numel() // dim * hidden < ENOUGH_IN_TRAINING:
        return cast(Tensor, branch(x, mlp(y if norm is None else norm(y))))
    return in_place_of(mlp, lambda: residual_mlp_training(x, y, weights, branch.part(x)))


def _weights(norm: nn.Module | None, mlp: Mlp, branch: Branch) -> kernels.Weights | None:
    """Of the parts; None where one is not what it was built as, or is watched."""
    if not is_unchanged(branch, Branch) or not is_unchanged(mlp, Mlp):
        return None
    parts: list[tuple[nn.Module, type[nn.Module]]] = [(mlp.fc1, nn.Linear), (mlp.fc2, nn.Linear)]
    if norm is not None:
        parts.append((norm, nn.LayerNorm))
    if branch.drops:
        parts.append((branch.drop_path, _drop_path()))
    if not all(itertools.starmap(is_unchanged, parts)):
        return None
    up, down = mlp.fc1, mlp.fc2
    return kernels.Weights(
        up=up.weight,
        up_bias=up.bias,
        down=down.weight,
        down_bias=down.bias,
        scale=torch.ones_like(up.weight[0]) if branch.scale is None else branch.scale,
        norm=(norm.weight, norm.bias) if isinstance(norm, nn.LayerNorm) else None,
        eps=norm.eps if isinstance(norm, nn.LayerNorm) else 0.0,
    )


class Stage(nn.Module):
    """A position embedding (if any), blocks of one width, and the norm after them: (B, H, W, C) -> (B, H, W, C).

    Attributes:
        position_in_residual: whether the position embedding stays in the residual stream; otherwise it goes into the
            first block's mixer alone.
    """

    def __init__(self, blocks: list[nn.Module], position: Tensor | None, norm: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.norm = norm
        self.position = None if position is None else nn.Parameter(position)  # (1, H, W, C)
        self.position_in_residual = True
        self.grad_checkpointing = False

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        position = None if self.position is None else resized_position(self.position, x.shape[1], x.shape[2])
        if position is not None and self.position_in_residual:
            x, position = x + position, None
        recomputes = self.grad_checkpointing and self.training
        for block in self.blocks:
            arguments = (x,) if position is None else (x, position)
            x = checkpoint(block, *arguments, use_reentrant=False) if recomputes else block(*arguments)
            position = None  # the first block's alone
        return cast(Tensor, self.norm(x))
