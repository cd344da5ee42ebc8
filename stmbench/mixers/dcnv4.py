"""Deformable convolution v4: DCNv3 whose weights are not normalised, from one projection of the input itself.

Xiong et al., "Efficient Deformable ConvNets: Rethinking Dynamic and Sparse Operator for Vision Applications", CVPR
2024, section 3.1, eq. 2. For group g of the channels and output position p0, with K points on a k x k grid:

    Y_g(p0) = sum_k m_gk(p0) V_g(p0 + s (p_k + dp_gk(p0))),   V = W_v X,   m unbounded: no softmax

Offsets dp and weights m are a linear map of X (of a depthwise convolution of X with `dw_kernel`). V is sampled
bilinearly and is zero outside the map. As in the authors' code, the base grid p_k goes down column by column, the scale
s widens it too, and the linear map is padded to a multiple of 8 outputs, the last of which are not used.

Options: `remove_center` leaves out the grid's middle point; `center_feature_scale` replaces a share of each group, the
sigmoid of a linear map of the sampled Y, by V itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.errors import require
from stmbench.mixers import presets
from stmbench.mixers.affinity import (
    PointAffinity,
    bilinear_points,
    join_heads,
    map_columns,
    split_into_heads,
    with_outside,
)
from stmbench.mixers.base import BlockPosition, Mixer, MixerConfig, ZeroGradient, register_mixer
from stmbench.mixers.ops import cached_table, renamed
from stmbench.mixers.ops.bilinear import deformable_samples, deformed_positions, weighted_samples
from stmbench.mixers.ops.depthwise import DepthwiseConv
from stmbench.mixers.ops.determinism import SAMPLES

ALIGNED = 8  # outputs of the linear map come in multiples of it


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dcnv4Config(MixerConfig):
    """`groups` groups of channels, each with offsets and weights of its own for a grid of `kernel` x `kernel` points,
    `dilation` tokens apart; `offset_scale` multiplies grid and offsets."""

    groups: int
    kernel: int = 3
    dilation: int = 1
    offset_scale: float = 1.0
    dw_kernel: int | None = None
    remove_center: bool = False
    center_feature_scale: bool = False
    output_bias: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.groups >= 1 and self.dim % self.groups == 0, f"groups that divide dim {self.dim}", self.groups)
        require(self.kernel >= 1 and self.kernel % 2 == 1, "an odd kernel >= 1", self.kernel)
        require(self.dilation >= 1, "dilation >= 1", self.dilation)
        require(self.offset_scale > 0, "offset_scale > 0", self.offset_scale)
        dw_kernel = self.dw_kernel
        require(dw_kernel is None or (dw_kernel >= 1 and dw_kernel % 2 == 1), "an odd dw_kernel, or None", dw_kernel)
        require(self.kernel > 1 or not self.remove_center, "kernel > 1 with remove_center", self.kernel)

    @property
    def points(self) -> int:
        """Samples for each position and group."""
        return self.kernel**2 - self.remove_center

    @property
    def outputs(self) -> int:
        """Of the linear map: two offsets and a weight for each point, and what fills the last eight."""
        return -(-3 * self.groups * self.points // ALIGNED) * ALIGNED


def config_at(
    position: BlockPosition,
    *,
    group_dim: int = 16,
    kernel: int = 3,
    dilation: int = 1,
    offset_scale: float = 1.0,
    dw_kernel: int | None = None,
    remove_center: bool = False,
    center_feature_scale: bool = False,
    output_bias: bool = True,
) -> Dcnv4Config:
    """Groups of `group_dim` channels at every position."""
    require(group_dim >= 1 and position.dim % group_dim == 0, f"dim {position.dim} divisible by group_dim", group_dim)
    return Dcnv4Config(
        dim=position.dim,
        groups=position.dim // group_dim,
        kernel=kernel,
        dilation=dilation,
        offset_scale=offset_scale,
        dw_kernel=dw_kernel,
        remove_center=remove_center,
        center_feature_scale=center_feature_scale,
        output_bias=output_bias,
    )


@register_mixer(
    "dcnv4",
    config=Dcnv4Config,
    config_at=config_at,
    title="Deformable Convolution v4",
    abbreviation="DCNv4",
    family="Dynamic Convolution",
    sampling="learned",
    weights="dynamic",
    method="FlashInternImage",
    citation="Xiong et al., CVPR 2024",
    nondeterministic_backward=SAMPLES,
    zero_gradient=tuple(
        ZeroGradient(
            parameter=f"offsets_weights.{name}",
            part="the last rows, where the groups' offsets and weights are no multiple of 8",
            reason="they fill the output to a multiple of 8 and are not used; the authors' model has them",
        )
        for name in ("weight", "bias")
    ),
    channel_multiple=16,
    palette_slot=35,
    presets=presets.matched((2, 2, 14, 2), (2, 2, 8, 2)),
    layouts=presets.tiny_layout((64, 128, 256, 512), (4, 4, 18, 4)),
)
class Dcnv4(Mixer):
    """(B, H, W, C) -> (B, H, W, C). Its weights start like other linear layers', not at zero as the authors'."""

    config: Dcnv4Config

    def __init__(self, config: Dcnv4Config) -> None:
        super().__init__()
        self.config = config
        dim, side = config.dim, config.dw_kernel
        self.conv = None if side is None else DepthwiseConv(dim, side)
        # group by group: (x, y) of each point, then the points' weights
        self.offsets_weights = nn.Linear(dim, config.outputs)
        self.proj_in = nn.Linear(dim, dim)
        self.center_scale = nn.Linear(dim, config.groups) if config.center_feature_scale else None
        self.proj_out = nn.Linear(dim, dim, bias=config.output_bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        value = self.proj_in(x)
        offsets, weights = self._offsets(x)
        grid = self._grid(offsets)
        sampled = deformable_samples(value, offsets, weights, grid, scale=self.config.offset_scale)
        if self.center_scale is not None:
            share = self.center_scale(sampled).sigmoid()[..., None]  # B, H, W, groups, 1
            grouped, centre = (t.unflatten(-1, (self.config.groups, -1)) for t in (sampled, value))
            sampled = torch.lerp(grouped, centre, share.to(grouped.dtype)).flatten(3)
        mixed: Tensor = self.proj_out(sampled)
        return mixed

    def points(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Where each output looks, and how much it weighs it.

        Args:
            x: (B, H, W, C).

        Returns:
            positions (B, H, W, groups, K, 2), (x, y) in tokens of the map, float32 or better for every dtype,
            and weights (B, H, W, groups, K), of any sign.
        """
        offsets, weights = self._offsets(x)
        grid = self._grid(offsets)
        return deformed_positions(offsets, grid, self.config.offset_scale), weights

    def _grid(self, like: Tensor) -> Tensor:
        config = self.config
        return _grid(config.kernel, config.remove_center, config.dilation, config.offset_scale, like.dtype, like.device)

    def _offsets(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Offsets (B, H, W, groups, K, 2), float32 or better, and weights (B, H, W, groups, K)."""
        config = self.config
        if self.conv is not None:
            x = self.conv(x)
        outputs = self.offsets_weights(x)[..., : 3 * config.groups * config.points]
        offsets, weights = outputs.unflatten(-1, (config.groups, -1)).split((2 * config.points, config.points), dim=-1)
        # half precision counts tokens in steps of a quarter and more on a large map: positions stay in single precision
        return offsets.unflatten(-1, (-1, 2)).to(torch.promote_types(offsets.dtype, torch.float32)), weights

    def reference(self, x: Tensor) -> Tensor:
        """The same map, point by point from their coordinates: four neighbours, four weights, zero outside."""
        config, (batch, height, width, _) = self.config, x.shape
        seen = x if self.conv is None else self.conv(x)
        outputs, value = self.offsets_weights(seen), self.proj_in(x).view(batch, height, width, config.groups, -1)
        image, group = torch.arange(batch).view(-1, 1, 1, 1), torch.arange(config.groups)
        rows, columns = torch.arange(height).view(-1, 1, 1), torch.arange(width).view(-1, 1)
        middle = config.kernel // 2
        # down one column of the grid after the other
        steps = [(i - middle, j - middle) for i in range(config.kernel) for j in range(config.kernel)]
        steps = [step for step in steps if step != (0, 0) or not config.remove_center]
        first = 3 * len(steps) * group  # output of each group's first offset
        y = torch.zeros_like(value)
        for k, (right, down) in enumerate(steps):
            px = columns + (config.dilation * right + outputs[..., first + 2 * k]) * config.offset_scale
            py = rows + (config.dilation * down + outputs[..., first + 2 * k + 1]) * config.offset_scale
            weight = outputs[..., first + 2 * len(steps) + k]  # B, H, W, groups
            for dx in (0, 1):
                for dy in (0, 1):
                    cx, cy = px.floor() + dx, py.floor() + dy
                    near = (1 - (px - cx).abs()) * (1 - (py - cy).abs()) * weight
                    inside = (cx >= 0) & (cx < width) & (cy >= 0) & (cy < height)
                    tokens = value[image, cy.long().clamp(0, height - 1), cx.long().clamp(0, width - 1), group]
                    y = y + tokens * (near * inside)[..., None]
        if self.center_scale is not None:
            share = 1 / (1 + (-self.center_scale(y.flatten(3))).exp())
            y = y * (1 - share[..., None]) + value * share[..., None]
        mixed: Tensor = self.proj_out(y.flatten(3))
        return mixed

    def affinity(self, x: Tensor) -> PointAffinity:
        """(B, H, W, C) -> (B, groups, H * W, H * W + 1): the last column is what samples find outside the map."""
        height, width = x.shape[1:3]
        points = self.points(x)
        positions, weights = (part.flatten(1, 2).transpose(1, 2) for part in points)  # B, groups, N, K, (2)
        index, weights = bilinear_points(positions, weights, height=height, width=width, outside=height * width)
        if self.center_scale is not None:
            sampled = weighted_samples(self.proj_in(x), *points)
            share = self.center_scale(sampled).sigmoid().flatten(1, 2).transpose(1, 2)[..., None]  # B, groups, N, 1
            centre = torch.arange(height * width, device=x.device)[:, None].expand_as(share)
            index, weights = torch.cat((index, centre), -1), torch.cat((weights * (1 - share), share), -1)
        return PointAffinity(index, weights, with_outside(map_columns(height, width, device=x.device)))

    def values(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, groups, H * W + 1, C / groups): outside the map they are zero."""
        return F.pad(split_into_heads(self.proj_in(x), self.config.groups), (0, 0, 0, 1))

    def project(self, mixed: Tensor, height: int, width: int) -> Tensor:
        """(B, groups, H * W, C / groups) -> (B, H, W, C)."""
        projected: Tensor = self.proj_out(join_heads(mixed, height, width))
        return projected

    def from_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The authors' names: each of their modules has another one here."""
        names = {
            "offset_mask_dw.": "conv.",
            "offset_mask.": "offsets_weights.",
            "value_proj.": "proj_in.",
            "output_proj.": "proj_out.",
            "center_feature_scale_proj_": "center_scale.",
        }
        return renamed(state, names)

    def macs(self, height: int, width: int) -> int:
        """N C (2 C for the projections, the outputs of the linear map, 5 K for sampling), and N C for each tap of the
        depthwise convolution and each group's share of the centre."""
        config = self.config
        taps = 0 if config.dw_kernel is None else config.dw_kernel**2
        shares = config.groups if config.center_feature_scale else 0
        return height * width * config.dim * (2 * config.dim + config.outputs + 5 * config.points + taps + shares)


@cached_table
def _grid(
    kernel: int, remove_center: bool, dilation: int, offset_scale: float, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Where the points are without offsets, (K, 2), (x, y) in tokens from the position."""
    step = torch.arange(kernel, dtype=dtype, device=device) - kernel // 2
    grid = torch.stack(torch.meshgrid(step, step, indexing="ij"), dim=-1).view(-1, 2)  # x in the outer loop
    if remove_center:
        middle = len(grid) // 2
        grid = torch.cat((grid[:middle], grid[middle + 1 :]))
    return grid * dilation * offset_scale
