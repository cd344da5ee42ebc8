"""Deformable attention: all queries attend to one set of points, whose positions the map itself decides.

Xia et al., "Vision Transformer with Deformable Attention", CVPR 2022, section 3.2 (eqs. 3 to 8), in the form of the
authors' code for DAT++ (2023). The channels of the queries Q are split into groups; on a grid of H_k x W_k reference
points, coarser than the map by `stride`, group g gets offsets and samples the input bilinearly:

    dp_g = W GELU(LN(dwconv(Q_g))),   X~_g(n) = X_g(p_n + dp_g(n)),   K, V = W_k X~, W_v X~
    Y = softmax(Q K^T / sqrt(d) + B) V

B comes from a table of (2 H - 1) x (2 W - 1) entries for each head, H x W being the design size: it is sampled
bilinearly at the displacement from point to query, so that any map may use it.

Positions go from -1 to 1 from the first token to the last. The authors place reference point i of n at
2 (i + 1/2) / (n - 1) - 1, half a step further right and down than the middle of its cell, which is kept; a grid of one
point divides by 1 here and lies in the middle of the map. Offsets are unbounded and positions are clamped to the map
(`range_factor` None), or offsets are tanh's, in units of `range_factor` half steps of the grid, and what lies outside
the map is zero. Their networks alternate with neighbourhood attention; here every block is of this kind.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping

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
from stmbench.mixers.base import BlockPosition, FourSizes, Mixer, MixerConfig, ZeroGradient, register_mixer
from stmbench.mixers.ops import cached_table, renamed
from stmbench.mixers.ops.attention import key_bias
from stmbench.mixers.ops.bilinear import displacement_samples, point_samples, token_positions
from stmbench.mixers.ops.determinism import SAMPLES
from stmbench.mixers.ops.stages import require_stages
from stmbench.mixers.ops.windows import extended


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeformableAttnConfig(MixerConfig):
    """`groups` sets of points, each for heads / groups heads; the bias table is made for maps of `resolution`."""

    heads: int
    resolution: tuple[int, int]
    groups: int = 1
    stride: int = 1
    offset_kernel: int = 3
    range_factor: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.heads >= 1 and self.dim % self.heads == 0, f"heads that divide dim {self.dim}", self.heads)
        divides = self.groups >= 1 and self.heads % self.groups == 0
        require(divides, f"groups that divide the {self.heads} heads", self.groups)
        require(min(self.resolution) >= 1, "a resolution of at least 1 x 1", self.resolution)
        for name in ("stride", "offset_kernel"):
            require(getattr(self, name) >= 1, f"{name} >= 1", getattr(self, name))
        require(self.range_factor is None or self.range_factor > 0, "range_factor > 0, or None", self.range_factor)

    @property
    def padding(self) -> int:
        """Of the offsets' convolution, at every edge."""
        return self.offset_kernel // 2 if self.offset_kernel != self.stride else 0

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Reference points, down and across."""
        least = self.offset_kernel
        rows, columns = ((max(size + 2 * self.padding, least) - least) // self.stride + 1 for size in (height, width))
        return rows, columns


def config_at(
    position: BlockPosition,
    *,
    head_dim: int = 32,
    groups: FourSizes = (1, 2, 4, 8),
    strides: FourSizes = (8, 4, 2, 1),
    offset_kernels: FourSizes = (9, 7, 5, 3),
    range_factor: float | None = None,
) -> DeformableAttnConfig:
    """The stride falls from stage to stage, so that all stages have as many points; the groups grow as heads allow."""
    require(head_dim >= 1 and position.dim % head_dim == 0, f"dim {position.dim} divisible by head_dim", head_dim)
    stage = position.stage
    for option, given in (("groups", groups), ("strides", strides), ("offset_kernels", offset_kernels)):
        require_stages(option, given)
    return DeformableAttnConfig(
        dim=position.dim,
        heads=position.dim // head_dim,
        resolution=position.resolution,
        groups=math.gcd(groups[stage], position.dim // head_dim),
        stride=strides[stage],
        offset_kernel=offset_kernels[stage],
        range_factor=range_factor,
    )


@register_mixer(
    "deformable_attn",
    config=DeformableAttnConfig,
    config_at=config_at,
    title="Deformable Attention",
    abbreviation="Deform-Attn",
    family="Global Attention",
    sampling="learned",
    weights="dynamic",
    method="DAT",
    citation="Xia et al., CVPR 2022",
    nondeterministic_backward=SAMPLES,
    depends_on_n=True,
    zero_gradient=(
        key_bias("kv.bias", "the keys' half"),
        ZeroGradient(
            parameter="bias_table",
            part="entries that no displacement reaches, most of them in the last rows and columns",
            reason="the reference points do not reach the map's top and left edge, and move little at first",
        ),
    ),
    softmax_rows=True,  # with the column of what lies outside
    channel_multiple=32,
    palette_slot=27,
    presets=presets.matched((2, 2, 15, 2), (2, 2, 9, 2), head_dim=16),
    layouts=presets.tiny_layout((96, 192, 384, 768), (2, 2, 6, 2)),
)
class DeformableAttn(Mixer):
    """(B, H, W, C) -> (B, H, W, C). For the offsets, a map smaller than a kernel without padding is zero-padded."""

    config: DeformableAttnConfig

    def __init__(self, config: DeformableAttnConfig) -> None:
        super().__init__()
        self.config = config
        depth, kernel, (height, width) = config.dim // config.groups, config.offset_kernel, config.resolution
        self.q = nn.Linear(config.dim, config.dim)
        self.kv = nn.Linear(config.dim, 2 * config.dim)  # all keys, then all values
        self.proj = nn.Linear(config.dim, config.dim)
        # the same for all groups
        self.offset_conv = nn.Conv2d(depth, depth, kernel, stride=config.stride, padding=config.padding, groups=depth)
        self.offset_norm = nn.LayerNorm(depth, eps=1e-5)
        self.offset_proj = nn.Linear(depth, 2, bias=False)  # (y, x)
        self.bias_table = nn.Parameter(torch.empty(config.heads, 2 * height - 1, 2 * width - 1))
        nn.init.trunc_normal_(self.bias_table, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        q = self.q(x)
        points = self.points(q)
        bias = displacement_samples(self.bias_table, points, *x.shape[1:3]).to(q.dtype)
        q, (k, v) = split_into_heads(q, self.config.heads), self._sampled(x, points)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        projected: Tensor = self.proj(join_heads(y, *x.shape[1:3]))
        return projected

    def points(self, q: Tensor) -> Tensor:
        """Where the keys are: queries (B, H, W, C) -> (B, groups, P, 2), (x, y) from -1, the first token, to 1, the
        last one; float32 or better."""
        config, (batch, height, width, dim) = self.config, q.shape
        least = config.offset_kernel - 2 * config.padding
        q = extended(q, max(least - height, 0), max(least - width, 0)).permute(0, 3, 1, 2)
        weight, bias = self.offset_conv.weight.repeat(config.groups, 1, 1, 1), self.offset_conv.bias
        assert bias is not None
        seen = F.conv2d(q, weight, bias.repeat(config.groups), config.stride, config.padding, groups=dim)
        rows, columns = seen.shape[2:]
        seen = seen.permute(0, 2, 3, 1).reshape(batch, rows * columns, config.groups, -1).transpose(1, 2)
        offsets: Tensor = self.offset_proj(F.gelu(self.offset_norm(seen))).flip(-1)
        # half precision would count the tokens of a large map in steps: positions stay in single precision
        offsets = offsets.to(torch.promote_types(offsets.dtype, torch.float32))
        start, step = _reference_points(rows, columns, offsets.dtype, offsets.device)
        if config.range_factor is not None:
            offsets = offsets.tanh() * (config.range_factor * step)
        points: Tensor = start + offsets
        return points.clamp(-1, 1) if config.range_factor is None else points

    def reference(self, x: Tensor) -> Tensor:
        """The same map, point by point: four neighbours for its key and value, four entries for each query's bias."""
        config, (batch, height, width, dim) = self.config, x.shape
        q, depth = self.q(x), dim // config.groups
        below, right = (max(config.offset_kernel - 2 * config.padding - size, 0) for size in (height, width))
        padded, offsets = F.pad(q, (0, 0, 0, right, 0, below)), []
        for group in range(config.groups):
            seen = self.offset_conv(padded[..., group * depth : (group + 1) * depth].permute(0, 3, 1, 2))
            offsets.append(self.offset_proj(F.gelu(self.offset_norm(seen.permute(0, 2, 3, 1)))))
        rows, columns = offsets[0].shape[1:3]
        image, group_of, heads = torch.arange(batch)[:, None], torch.arange(config.groups), torch.arange(config.heads)
        far_y, far_x = (size - 1 for size in config.resolution)
        query_y = (2 * torch.arange(height, dtype=x.dtype) - height + 1)[:, None] / max(height - 1, 1)
        query_x = (2 * torch.arange(width, dtype=x.dtype) - width + 1) / max(width - 1, 1)
        grouped = x.view(batch, height, width, config.groups, depth)
        logits, values = [], []
        for row, column in itertools.product(range(rows), range(columns)):
            place = torch.stack([offset[:, row, column] for offset in offsets], 1)  # B, groups, (y, x)
            step = 1 / torch.tensor([max(size - 1, 1) for size in (rows, columns)], dtype=x.dtype)
            start = torch.tensor([2 * row + 1, 2 * column + 1]) * step - 1
            free, factor = config.range_factor is None, config.range_factor or 0
            place = (start + place).clamp(-1, 1) if free else start + place.tanh() * step * factor
            token, y, x_ = torch.zeros_like(grouped[:, 0, 0]), place[..., 0] / 2 + 0.5, place[..., 1] / 2 + 0.5
            for cy, cx, near in _neighbours(y * (height - 1), x_ * (width - 1), height, width):
                token = token + grouped[image, cy, cx, group_of] * near[..., None]
            k, v = self.kv(token.flatten(1)).view(batch, 2, config.heads, -1).unbind(1)
            # entries of the table, (B, heads, H, W): its middle is for no displacement
            own = place.repeat_interleave(config.heads // config.groups, 1)[..., None, None]  # B, heads, 2, 1, 1
            ty, tx = (query_y - own[:, :, 0]) * far_y / 2 + far_y, (query_x - own[:, :, 1]) * far_x / 2 + far_x
            bias = torch.zeros(batch, config.heads, height, width, dtype=x.dtype)
            for row_of, column_of, near in _neighbours(ty, tx, 2 * far_y + 1, 2 * far_x + 1):
                bias = bias + self.bias_table[heads[:, None, None], row_of, column_of] * near
            product = (q.view(batch, height, width, config.heads, -1) * k[:, None, None]).sum(-1)
            logits.append(product.permute(0, 3, 1, 2) * (dim // config.heads) ** -0.5 + bias)
            values.append(v)
        weights = torch.stack(logits, -1).softmax(-1)  # B, heads, H, W, points
        projected: Tensor = self.proj(torch.einsum("bhyxn,bhnd->byxhd", weights, torch.stack(values, 2)).flatten(3))
        return projected

    def affinity(self, x: Tensor) -> PointAffinity:
        """(B, H, W, C) -> (B, heads * groups, H * W, H * W + 1).

        Values are made from all groups of channels, which are sampled at different positions: every head has a map for
        each group, and their contributions are added. The last column is what samples find outside the map.
        """
        q, heads, (height, width) = self.q(x), self.config.heads, x.shape[1:3]
        points = self.points(q)
        bias, (k, _) = displacement_samples(self.bias_table, points, height, width), self._sampled(x, points)
        products = split_into_heads(q, heads) @ k.transpose(2, 3) * k.shape[-1] ** -0.5
        weights = (products + bias).softmax(-1)  # B, heads, N, P
        last = torch.tensor([width - 1, height - 1], dtype=points.dtype, device=x.device)
        places = ((points + 1) / 2 * last)[..., None, :]  # B, groups, P, 1, 2: (x, y) in tokens
        ones, outside = torch.ones_like(places[..., 0]), height * width
        index, near = bilinear_points(places, ones, height=height, width=width, outside=outside)  # B, groups, P, 4
        every = weights[:, :, None, ..., None] * near[:, None, :, None]  # B, heads, groups, N, P, 4
        index = index[:, None, :, None].expand_as(every).flatten(4).flatten(1, 2)
        every = every.flatten(4).flatten(1, 2)
        return PointAffinity(index, every, with_outside(map_columns(height, width, device=x.device)))

    def values(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, heads * groups, H * W + 1, d): each group's part of every token's value, zero outside.
        The values' bias is added by `project`: the weights of a row sum to one."""
        config, batch = self.config, len(x)
        weight = self.kv.weight[config.dim :].view(config.heads, -1, config.groups, config.dim // config.groups)
        grouped = x.reshape(batch, -1, config.groups, config.dim // config.groups)
        values = torch.einsum("bngc,hdgc->bhgnd", grouped, weight).flatten(1, 2)
        return F.pad(values, (0, 0, 0, 1))

    def project(self, mixed: Tensor, height: int, width: int) -> Tensor:
        """(B, heads * groups, H * W, d) -> (B, H, W, C)."""
        mixed = mixed.view(len(mixed), self.config.heads, self.config.groups, *mixed.shape[2:]).sum(2)
        projected: Tensor = self.proj(join_heads(mixed, height, width) + self.kv.bias[self.config.dim :])
        return projected

    def no_weight_decay(self) -> set[str]:
        """The bias table."""
        return {"bias_table"}

    def from_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The authors' names; 1 x 1 convolutions are linear layers here, and keys and values one layer."""
        names = {"proj_q.": "q.", "proj_out.": "proj.", "rpe_table": "bias_table", "conv_offset.0.": "offset_conv."}
        named = renamed(state, {**names, "conv_offset.1.norm.": "offset_norm.", "conv_offset.3.": "offset_proj."})
        for kind in ("weight", "bias"):
            if {f"proj_k.{kind}", f"proj_v.{kind}"} <= named.keys():
                named[f"kv.{kind}"] = torch.cat([named.pop(f"proj_k.{kind}"), named.pop(f"proj_v.{kind}")])
        return named

    def macs(self, height: int, width: int) -> int:
        """2 N C^2 and, for N_s points, 2 N_s C^2 (projections), 2 N N_s C (products), 4 N N_s heads (bias), N_s C
        (K^2 + 6) (offsets, sampled input)."""
        config, tokens, samples = self.config, height * width, math.prod(self.config.grid(height, width))
        dim = config.dim
        return tokens * 2 * (dim * dim + samples * dim + 2 * samples * config.heads) + samples * dim * (
            2 * dim + config.offset_kernel**2 + 6
        )

    def _sampled(self, x: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, heads, P, d) of the map (B, H, W, C)."""
        k, v = self.kv(point_samples(x, points)).chunk(2, dim=-1)
        return split_into_heads(k[:, None], self.config.heads), split_into_heads(v[:, None], self.config.heads)


def _neighbours(y: Tensor, x: Tensor, height: int, width: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """The four tokens around positions, for `reference`: row, column and weight of each, zero outside the map."""
    for down, right in itertools.product((0, 1), repeat=2):
        cy, cx = y.floor() + down, x.floor() + right
        near = (1 - (y - cy).abs()) * (1 - (x - cx).abs()) * (cy >= 0) * (cy < height) * (cx >= 0) * (cx < width)
        yield cy.clamp(0, height - 1).long(), cx.clamp(0, width - 1).long(), near


@cached_table
def _reference_points(rows: int, columns: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(2, rows * columns, 2): the points (x, y), and half a step between them."""
    sizes = torch.stack([torch.full((), size, dtype=dtype, device=device) for size in (columns, rows)])
    step = (1 / (sizes - 1).clamp(min=1)).expand(rows * columns, 2)
    tokens = token_positions(rows, columns, dtype, device).flatten(0, 1)
    return torch.stack(((2 * tokens + 1) * step - 1, step))
