"""Deformable convolution v3: each output gathers nine points of the map, at positions and with weights of its own.

Wang et al., "InternImage", CVPR 2023, section 3.1, eq. 2. For group g of the channels and output position p0, K = 9:

    Y_g(p0) = sum_k m_gk(p0) X_g(p0 + p_k + dp_gk(p0)),   m_g = softmax over k

Offsets dp and weights m come from a 3 x 3 depthwise convolution of the input, LayerNorm and GELU; X is sampled
bilinearly and is zero outside the map. Hu et al. lay the base grid p_k out transposed: point k = 3 i + j is at
(x, y) = (i-1, j-1).
"""

from __future__ import annotations

import dataclasses
import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.errors import require
from stmbench.kernels.deformable_conv import Layers, deformable_conv
from stmbench.mixers.affinity import (
    PointAffinity,
    bilinear_points,
    join_heads,
    map_columns,
    split_into_heads,
    with_outside,
)
from stmbench.mixers.base import BlockPosition, Mixer, MixerConfig, Preset, register_mixer
from stmbench.mixers.ops import cached_table, has_its_methods, is_eager_on_cpu, is_unchanged, takes_single
from stmbench.mixers.ops.bilinear import deformable_samples, deformed_positions, softmax_of_few
from stmbench.mixers.ops.determinism import SAMPLES

POINTS = 9


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dcnv3Config(MixerConfig):
    """`groups` groups of channels, each with its own nine offsets and weights at every position."""

    groups: int

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.groups >= 1 and self.dim % self.groups == 0, f"groups that divide dim {self.dim}", self.groups)


def config_at(position: BlockPosition, *, group_dim: int = 16) -> Dcnv3Config:
    """Groups of `group_dim` channels at every position."""
    require(position.dim % group_dim == 0, f"dim {position.dim} divisible by group_dim", group_dim)
    return Dcnv3Config(dim=position.dim, groups=position.dim // group_dim)


def _presets() -> dict[str, Preset]:
    def preset(width: int, depths: tuple[int, int, int, int], drop_path: float) -> Preset:
        dims = (width, 2 * width, 4 * width, 8 * width)
        return Preset(dims=dims, depths=depths, norm_eps=1e-5, drop_path=drop_path)

    return {
        "nano": preset(16, (2, 2, 2, 2), 0.0),
        "micro": preset(32, (2, 2, 9, 2), 0.0),
        "tiny": preset(64, (4, 4, 18, 4), 0.1),
        "small": preset(80, (4, 4, 21, 4), 0.3),
        "base": preset(112, (4, 4, 21, 4), 0.5),
    }


@register_mixer(
    "dcnv3",
    config=Dcnv3Config,
    config_at=config_at,
    title="Deformable Convolution v3",
    abbreviation="DCNv3",
    family="Dynamic Convolution",
    sampling="learned",
    weights="dynamic",
    method="InternImage",
    citation="Wang et al., CVPR 2023",
    nondeterministic_backward=SAMPLES,
    palette_slot=4,
    softmax_rows=True,  # with the column of what lies outside
    channel_multiple=16,
    presets=_presets(),
    published_convention=frozenset({"conv", "linear", "matmul", "norm", "pool"}),
)
class Dcnv3(Mixer):
    """(B, H, W, C) -> (B, H, W, C)."""

    config: Dcnv3Config

    def __init__(self, config: Dcnv3Config) -> None:
        super().__init__()
        self.config = config
        self.conv = nn.Conv2d(config.dim, config.dim, 3, padding=1, groups=config.dim)
        self.norm = nn.LayerNorm(config.dim, eps=1e-5)
        self.offsets = nn.Linear(config.dim, config.groups * POINTS * 2)  # (x, y) in tokens
        self.weights = nn.Linear(config.dim, config.groups * POINTS)
        self.proj_in = nn.Linear(config.dim, config.dim)
        self.proj_out = nn.Linear(config.dim, config.dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        layers = self._layers() if is_eager_on_cpu(x) else None
        if layers is not None and takes_single(x, *layers.tensors) and layers.fit(x, self.config.groups, POINTS):
            return deformable_conv(x, layers, _grid(x.dtype, x.device), self.config.groups)
        offsets, logits = self._offsets(x)
        grid = _grid(offsets.dtype, offsets.device)
        mixed: Tensor = self.proj_out(deformable_samples(self.proj_in(x), offsets, logits, grid, softmax=True))
        return mixed

    def points(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Where each output looks, and how much it weighs it.

        Args:
            x: (B, H, W, C).

        Returns:
            positions (B, H, W, groups, 9, 2), (x, y) in tokens of the map, float32 or better for every dtype,
            and weights (B, H, W, groups, 9), summing to 1.
        """
        offsets, logits = self._offsets(x)
        return deformed_positions(offsets, _grid(offsets.dtype, offsets.device)), softmax_of_few(logits)

    def _layers(self) -> Layers | None:
        """For the kernel; None where one is not what it was built as, or is watched."""
        linear = (self.offsets, self.weights, self.proj_in, self.proj_out)
        kinds = [(self.conv, nn.Conv2d), (self.norm, nn.LayerNorm), *((layer, nn.Linear) for layer in linear)]
        if not has_its_methods(self, Dcnv3) or not all(itertools.starmap(is_unchanged, kinds)):
            return None  # a subclass may choose its points otherwise
        offsets, weights, value, output = linear
        return Layers(conv=self.conv, norm=self.norm, offsets=offsets, weights=weights, value=value, output=output)

    def _offsets(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Offsets (B, H, W, groups, 9, 2), float32 or better, and logits (B, H, W, groups, 9)."""
        batch, height, width, _ = x.shape
        groups = self.config.groups
        u = self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        u = F.gelu(self.norm(u))
        offsets = self.offsets(u).view(batch, height, width, groups, POINTS, 2)
        logits = self.weights(u).view(batch, height, width, groups, POINTS)
        # half precision counts tokens in steps of a quarter and more on a large map: positions stay in single precision
        return offsets.to(torch.promote_types(offsets.dtype, torch.float32)), logits

    def reference(self, x: Tensor) -> Tensor:
        """The same map, point by point from their coordinates: four neighbours, four weights, zero outside."""
        batch, height, width, dim = x.shape
        groups = self.config.groups
        u = F.gelu(self.norm(self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)))
        offsets, logits = self.offsets(u), self.weights(u)
        value = self.proj_in(x).view(batch, height, width, groups, dim // groups)
        image = torch.arange(batch).view(-1, 1, 1)
        rows, columns = torch.arange(height)[:, None], torch.arange(width)
        y = torch.zeros_like(value)
        for group in range(groups):
            first = group * POINTS
            weights = logits[..., first : first + POINTS].exp()
            weights = weights / weights.sum(-1, keepdim=True)
            for k in range(POINTS):
                # the points go down column by column: k // 3 counts columns, k % 3 rows
                px = columns + (k // 3 - 1) + offsets[..., 2 * (first + k)]
                py = rows + (k % 3 - 1) + offsets[..., 2 * (first + k) + 1]
                for dx in (0, 1):
                    for dy in (0, 1):
                        cx, cy = px.floor() + dx, py.floor() + dy
                        near = (1 - (px - cx).abs()) * (1 - (py - cy).abs()) * weights[..., k]
                        inside = (cx >= 0) & (cx < width) & (cy >= 0) & (cy < height)
                        tokens = value[image, cy.long().clamp(0, height - 1), cx.long().clamp(0, width - 1), group]
                        y[..., group, :] += tokens * (near * inside)[..., None]
        mixed: Tensor = self.proj_out(y.flatten(3))
        return mixed

    def affinity(self, x: Tensor) -> PointAffinity:
        """(B, H, W, C) -> (B, groups, H * W, H * W + 1): the last column is what samples find outside the map."""
        height, width = x.shape[1:3]
        positions, weights = (points.flatten(1, 2).transpose(1, 2) for points in self.points(x))  # B, groups, N, 9, (2)
        index, weights = bilinear_points(positions, weights, height=height, width=width, outside=height * width)
        return PointAffinity(index, weights, with_outside(map_columns(height, width, device=x.device)))

    def values(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, groups, H * W + 1, C / groups): outside the map they are zero."""
        return F.pad(split_into_heads(self.proj_in(x), self.config.groups), (0, 0, 0, 1))

    def project(self, mixed: Tensor, height: int, width: int) -> Tensor:
        """(B, groups, H * W, C / groups) -> (B, H, W, C)."""
        projected: Tensor = self.proj_out(join_heads(mixed, height, width))
        return projected

    def macs(self, height: int, width: int) -> int:
        """2 N C^2 (projections), 9 N C (depthwise), 27 N C G (offsets, weights), 5 * 9 N C (sampling: 4 for a bilinear
        sample, 1 for its weight)."""
        dim, groups = self.config.dim, self.config.groups
        return height * width * (2 * dim * dim + 9 * dim + 3 * POINTS * dim * groups + 5 * POINTS * dim)


@cached_table
def _grid(dtype: torch.dtype, device: torch.device) -> Tensor:
    """Where the nine points start: (9, 2), (x, y) in tokens."""
    step = torch.arange(-1, 2, dtype=dtype, device=device)
    return torch.stack(torch.meshgrid(step, step, indexing="ij"), dim=-1).view(POINTS, 2)  # (i-1, j-1)
