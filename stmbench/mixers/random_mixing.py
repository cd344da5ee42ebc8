"""Random mixing: a frozen random matrix, MetaFormer's control for what a mixer has to learn.

Yu et al., "MetaFormer Baselines for Vision", TPAMI 2024, section 3.2: with R uniform on [0, 1), N x N, drawn once,

    Y = softmax(R) X,   the softmax over each row

Nothing of it is learned, and there are no projections: as N grows every row comes near to the mean of all tokens. The
matrix is part of the state dict. It is made for one size of map; for others its rows and columns are interpolated as
images of the design size (bilinear) and every row is divided by its sum, or they are refused (`resize=False`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from torch import Tensor

from stmbench.errors import require
from stmbench.mixers import presets
from stmbench.mixers.affinity import MatrixAffinity, join_heads, map_columns, split_into_heads
from stmbench.mixers.base import BlockPosition, Mixer, MixerConfig, register_mixer
from stmbench.mixers.ops.token_sums import require_resolution, resized, resized_reference, square_map

FEW = 256  # tokens up to which a product for each image is faster than one product of all images


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomMixingConfig(MixerConfig):
    """A matrix for maps of `resolution`; `resize` allows others."""

    resolution: tuple[int, int]
    resize: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require(min(self.resolution) >= 1, "a resolution of at least 1 x 1", self.resolution)


def config_at(position: BlockPosition, *, resize: bool = True) -> RandomMixingConfig:
    """A matrix for the map of the position."""
    return RandomMixingConfig(dim=position.dim, resolution=position.resolution, resize=resize)


@register_mixer(
    "random_mixing",
    config=RandomMixingConfig,
    config_at=config_at,
    title="Random Mixing",
    abbreviation="Random",
    family="Control",
    sampling="global",
    weights="static",
    method="MetaFormer",
    citation="Yu et al., TPAMI 2024",
    softmax_rows=True,
    palette_slot=44,
    presets=presets.matched((2, 2, 6, 2), (2, 2, 6, 2), micro_dims=(26, 52, 104, 208), tiny_dims=(92, 184, 368, 736)),
)
class RandomMixing(Mixer):
    """(B, H, W, C) -> (B, H, W, C). It has no parameters, and a buffer whose size depends on the design resolution."""

    config: RandomMixingConfig
    matrix: Tensor

    def __init__(self, config: RandomMixingConfig) -> None:
        super().__init__()
        self.config = config
        tokens = config.resolution[0] * config.resolution[1]
        self.register_buffer("matrix", torch.rand(tokens, tokens).softmax(dim=-1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        matrix, tokens = self._matrix(x.shape[1], x.shape[2]).to(x.dtype), x.flatten(1, 2)
        mixed = matrix @ tokens if len(matrix) <= FEW else torch.einsum("nm,bmc->bnc", matrix, tokens)
        return mixed.reshape(x.shape).contiguous()

    def reference(self, x: Tensor) -> Tensor:
        """The same map, with the interpolation written out."""
        size, matrix = (x.shape[1], x.shape[2]), self.matrix
        if size != self.config.resolution:
            matrix = resized_reference(matrix[None], self.config.resolution, size)[0]
            matrix = matrix / matrix.sum(dim=1, keepdim=True)
        return torch.stack([matrix @ image for image in x.flatten(1, 2)]).view(x.shape)

    def affinity(self, x: Tensor) -> MatrixAffinity:
        """(B, H, W, C) -> (B, 1, H * W, H * W)."""
        batch, height, width, _ = x.shape
        columns = map_columns(height, width, device=x.device)
        matrix = self._matrix(height, width).to(x.dtype)
        return MatrixAffinity(matrix[None, None], columns, kind="static", batch=batch)

    def values(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, 1, H * W, C)."""
        return split_into_heads(x, 1)

    def project(self, mixed: Tensor, height: int, width: int) -> Tensor:
        """(B, 1, H * W, C) -> (B, H, W, C)."""
        return join_heads(mixed, height, width)

    def from_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """MetaFormer's name for the same matrix."""
        return {"matrix" if name == "random_matrix" else name: tensor for name, tensor in state.items()}

    def resized_tensor(self, name: str, value: Tensor) -> Tensor | None:
        """The matrix, as for maps of another size, from that of a square map."""
        size = square_map(len(value))
        return _normalised(value, size, self.config.resolution) if name == "matrix" and size is not None else None

    def macs(self, height: int, width: int) -> int:
        """N^2 C; resizing is not counted."""
        tokens = height * width
        return tokens * tokens * self.config.dim

    def _matrix(self, height: int, width: int) -> Tensor:
        """(N, N), resized in float32 at least where the map has another size."""
        size = (height, width)
        require_resolution(size, self.config.resolution, resize=self.config.resize, what="random matrix")
        if size == self.config.resolution:
            return self.matrix
        exact = self.matrix.to(torch.promote_types(self.matrix.dtype, torch.float32))
        return _normalised(exact, self.config.resolution, size)


def _normalised(matrix: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """(N, N) for maps of size `old` -> (N', N') for those of size `new`, whose rows sum to one."""
    matrix = resized(matrix[None], old, new)[0]
    return matrix / matrix.sum(dim=1, keepdim=True)
