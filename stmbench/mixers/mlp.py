"""Token MLPs: a static N x N matrix, for all channels or per head, whole or of low rank, between two projections.

Gao et al., "Container", NeurIPS 2021, section 3.3, eq. 6 and Table 2; without the non-linearity of MLP-Mixer (section
4.1). For head m, with A_m = L_m R_m^T (N x r each) in the mixers of low rank,

    Y_m = A_m V_m,   V = W_v X,   and a projection W_out after it

    mlp      one matrix             mlp_lr      one matrix of low rank
    mh_mlp   one matrix per head    mh_mlp_lr   one matrix of low rank per head
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from stmbench.errors import require
from stmbench.mixers import presets
from stmbench.mixers.affinity import MatrixAffinity, join_heads, map_columns, split_into_heads
from stmbench.mixers.base import BlockPosition, Mixer, MixerConfig, register_mixer
from stmbench.mixers.ops.attention import num_heads
from stmbench.mixers.ops.determinism import RESIZED
from stmbench.mixers.ops.token_sums import MatrixConfig, StaticMatrix


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


def matrix_rank(resolution: tuple[int, int], share: float) -> int:
    """`share` of the N tokens of a position, rounded, at least 1. Raises ConfigError unless 0 < share <= 1."""
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
        y: Tensor = self.proj_out(join_heads(mixed, height, width))
        return y

    def macs(self, height: int, width: int) -> int:
        """2 N C^2 for the projections, and N^2 C for the matrices or 2 N r C for their factors."""
        dim = self.config.dim
        return 2 * height * width * dim * dim + self.mix.macs(height, width, dim)


def mlp_at(position: BlockPosition, *, resize: bool = True) -> StaticMixerConfig:
    """One matrix for the map of the position."""
    return StaticMixerConfig(dim=position.dim, resolution=position.resolution, resize=resize)


@register_mixer(
    "mlp",
    config=StaticMixerConfig,
    config_at=mlp_at,
    title="Token MLP",
    abbreviation="MLP",
    family="MLP",
    sampling="global",
    weights="static",
    method="CONTAINER, Table 2",
    citation="Gao et al., NeurIPS 2021",
    nondeterministic_backward=RESIZED,
    depends_on_n=True,
    palette_slot=8,
)
class Mlp(StaticMixer):
    """(B, H, W, C) -> (B, H, W, C). The number of its parameters depends on the design resolution."""


def mh_mlp_at(
    position: BlockPosition, *, head_dim: int = 32, heads: int | None = None, resize: bool = True
) -> StaticMixerConfig:
    """Heads of `head_dim` channels; `heads`, where given, is their number in every stage instead."""
    count = num_heads(position.dim, head_dim, heads)
    return StaticMixerConfig(dim=position.dim, resolution=position.resolution, heads=count, resize=resize)


@register_mixer(
    "mh_mlp",
    config=StaticMixerConfig,
    config_at=mh_mlp_at,
    title="Multi-Head Token MLP",
    abbreviation="MH-MLP",
    family="MLP",
    sampling="global",
    weights="static",
    method="CONTAINER, Table 2",
    citation="Gao et al., NeurIPS 2021",
    nondeterministic_backward=RESIZED,
    depends_on_n=True,
    palette_slot=19,
    channel_multiple=32,
    presets=presets.nano(head_dim=16),
)
class MhMlp(StaticMixer):
    """(B, H, W, C) -> (B, H, W, C). The number of its parameters depends on the design resolution."""


def mlp_lr_at(position: BlockPosition, *, rank_share: float = 0.275, resize: bool = True) -> StaticMixerConfig:
    """One matrix for the map of the position, its rank a share of the position's tokens."""
    rank = matrix_rank(position.resolution, rank_share)
    return StaticMixerConfig(dim=position.dim, resolution=position.resolution, rank=rank, resize=resize)


@register_mixer(
    "mlp_lr",
    config=StaticMixerConfig,
    config_at=mlp_lr_at,
    title="Token MLP of Low Rank",
    abbreviation="MLP-LR",
    family="MLP",
    sampling="global",
    weights="static",
    method="CONTAINER, Table 2",
    citation="Gao et al., NeurIPS 2021",
    nondeterministic_backward=RESIZED,
    depends_on_n=True,
    palette_slot=20,
)
class MlpLr(StaticMixer):
    """(B, H, W, C) -> (B, H, W, C). The number of its parameters depends on the design resolution."""


def mh_mlp_lr_at(
    position: BlockPosition,
    *,
    head_dim: int = 32,
    heads: int | None = None,
    rank_share: float = 0.16,
    resize: bool = True,
) -> StaticMixerConfig:
    """Heads of `head_dim` channels (or `heads` of them), the rank of each a share of the position's tokens."""
    return StaticMixerConfig(
        dim=position.dim,
        resolution=position.resolution,
        heads=num_heads(position.dim, head_dim, heads),
        rank=matrix_rank(position.resolution, rank_share),
        resize=resize,
    )


@register_mixer(
    "mh_mlp_lr",
    config=StaticMixerConfig,
    config_at=mh_mlp_lr_at,
    title="Multi-Head Token MLP of Low Rank",
    abbreviation="MH-MLP-LR",
    family="MLP",
    sampling="global",
    weights="static",
    method="CONTAINER, Table 2",
    citation="Gao et al., NeurIPS 2021",
    nondeterministic_backward=RESIZED,
    depends_on_n=True,
    palette_slot=21,
    channel_multiple=32,
    presets=presets.nano(head_dim=16),
)
class MhMlpLr(StaticMixer):
    """(B, H, W, C) -> (B, H, W, C). The number of its parameters depends on the design resolution."""
