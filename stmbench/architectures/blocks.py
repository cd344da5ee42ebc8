"""Residual blocks around a mixer. A block never asks which mixer it holds."""

from __future__ import annotations

import dataclasses
from typing import cast

import torch
from timm.layers.drop import DropPath
from timm.layers.mlp import Mlp
from torch import Tensor, nn


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockConfig:
    """`dim` channels; `drop_path` is the probability of dropping a branch; `scale` the layer scale's first value, None
    for no layer scale."""

    dim: int
    mlp_ratio: float
    norm_eps: float
    drop_path: float
    scale: float | None = 1e-6


class TransformerBlock(nn.Module):
    """x + s1 * mixer(LN(x)), then x + s2 * mlp(LN(x)) (Hu et al., Fig. 2a). (B, H, W, C) -> (B, H, W, C)."""

    def __init__(self, mixer: nn.Module, config: BlockConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.mixer = mixer
        self.branch1 = Branch(config)
        self.norm2 = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.mlp = Mlp(config.dim, int(config.dim * config.mlp_ratio))
        self.branch2 = Branch(config)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        x = self.branch1(x, self.mixer(self.norm1(x)))
        y: Tensor = self.branch2(x, self.mlp(self.norm2(x)))
        return y

    def macs(self, height: int, width: int) -> dict[str, int]:
        """Multiply-adds besides the mixer's, by part."""
        return {"mlps": mlp_macs(self.mlp, height, width)}


class ConvNextBlock(nn.Module):
    """x + s * mlp(LN(mixer(x))), one residual (Liu et al. 2022, Fig. 4; Hu et al., Fig. 4 D). (B, H, W, C) -> same."""

    def __init__(self, mixer: nn.Module, config: BlockConfig) -> None:
        super().__init__()
        self.mixer = mixer
        self.norm1 = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.mlp = Mlp(config.dim, int(config.dim * config.mlp_ratio))
        self.branch1 = Branch(config)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        y: Tensor = self.branch1(x, self.mlp(self.norm1(self.mixer(x))))
        return y

    def macs(self, height: int, width: int) -> dict[str, int]:
        """Multiply-adds besides the mixer's, by part."""
        return {"mlps": mlp_macs(self.mlp, height, width)}


class Branch(nn.Module):
    """A residual branch's end: x + drop_path(scale * y), with one learned scale for each channel (layer scale)."""

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        self.scale = None if config.scale is None else nn.Parameter(torch.full((config.dim,), float(config.scale)))
        self.drop_path = DropPath(config.drop_path)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """x and y (B, H, W, C) -> (B, H, W, C)."""
        if self.training and self.drop_path.drop_prob > 0:
            dropped: Tensor = x + self.drop_path(y if self.scale is None else self.scale * y)
            return dropped
        return x + y if self.scale is None else torch.addcmul(x, self.scale, y)  # one pass over memory


def mlp_macs(mlp: Mlp, height: int, width: int) -> int:
    """Multiply-adds of a two-layer MLP on a map of height x width."""
    return height * width * 2 * cast(nn.Linear, mlp.fc1).weight.numel()
