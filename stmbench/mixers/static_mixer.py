"""What mlp, mh_mlp, mlp_lr and mh_mlp_lr share: a static N x N matrix for each head between two projections.

Gao et al., "Container", NeurIPS 2021, section 3.3 and eq. 6; without the non-linearity of MLP-Mixer (section 4.1):

    Y_m = A_m V_m,   V = W_v X,   and a projection W_out after it
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from stmbench.errors import require
from stmbench.mixers.affinity import MatrixAffinity, joined_heads, map_columns, split_into_heads
from stmbench.mixers.base import Mixer, MixerConfig
from stmbench.mixers.static_matrix import MatrixConfig, StaticMatrix


@dataclasses.dataclass(frozen=True, kw_only=True)
class StaticMixerConfig(MixerConfig):
    """`heads` matrices made for maps of `resolution`, whole or of a `rank`; `resize` allows other resolutions."""

    resolution: tuple[int, int]
    heads: int = 1
    rank: int | None = None
    resize: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.heads >= 1 and self.dim % self.heads == 0, f"heads that divide dim {self.dim}", self.heads)
        self.matrix()

    def matrix(self) -> MatrixConfig:
        """The matrices' own config, which checks the rest."""
        return MatrixConfig(heads=self.heads, resolution=self.resolution, rank=self.rank, resize=self.resize)


def rank_at(resolution: tuple[int, int], share: float) -> int:
    """`share` of the N tokens of a site, rounded, at least 1. Raises ConfigError unless 0 < share <= 1."""
    require(0 < share <= 1, "0 < rank_share <= 1", share)
    return max(1, round(share * resolution[0] * resolution[1]))


class StaticMixer(Mixer):
    """(B, H, W, C) -> (B, H, W, C)."""

    config: StaticMixerConfig

    def __init__(self, config: StaticMixerConfig) -> None:
        super().__init__()
        self.config = config
        self.proj_in = nn.Linear(config.dim, config.dim)
        self.mix = StaticMatrix(config.matrix())
        self.proj_out = nn.Linear(config.dim, config.dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        height, width = x.shape[1:3]
        return self.project(self.mix(self.values(x), (height, width)), height, width)

    def reference(self, x: Tensor) -> Tensor:
        """The same map, head by head, each with its whole matrix."""
        height, width = x.shape[1:3]
        matrices = self.mix.reference((height, width))
        parts = self.proj_in(x).flatten(1, 2).chunk(self.config.heads, dim=-1)  # B, N, d each
        mixed = [torch.einsum("nm,bmd->bnd", matrix, part) for matrix, part in zip(matrices, parts, strict=True)]
        y: Tensor = self.proj_out(torch.cat(mixed, dim=-1).reshape(x.shape))
        return y

    def affinity(self, x: Tensor) -> MatrixAffinity:
        """(B, H, W, C) -> (B, heads, H * W, H * W)."""
        batch, height, width, _ = x.shape
        columns = map_columns(height, width, device=x.device)
        return MatrixAffinity(self.mix.matrix((height, width))[None], columns, kind="static", batch=batch)

    def values(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, heads, H * W, d)."""
        return split_into_heads(self.proj_in(x), self.config.heads)

    def project(self, mixed: Tensor, height: int, width: int) -> Tensor:
        """(B, heads, H * W, d) -> (B, H, W, C)."""
        y: Tensor = self.proj_out(joined_heads(mixed, height, width))
        return y

    def macs(self, height: int, width: int) -> int:
        """2 N C^2 for the projections, and N^2 C for the matrices or 2 N r C for their factors."""
        dim = self.config.dim
        return 2 * height * width * dim * dim + self.mix.macs(height, width, dim)
