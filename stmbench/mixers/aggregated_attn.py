"""Aggregated attention: one softmax over the tokens around a query and over a pooled map.

Shi, "TransNeXt: Robust Foveal Visual Perception for Vision Transformers", CVPR 2024, section 3 (eqs. 1 to 10). With
^ for division by the L2 norm, head by head, at position i with its K x K neighbours and P pooled tokens,

    S(i) = [t_i (Q^ + E) K^_near + b_near,  t_i (Q^ + E) K^_pool + B],   t_i = softplus(T) log(number of keys of i)
    Y(i) = (softmax_near + Q^ L + c) V_near + softmax_pool V_pool

    pooled tokens   LN(adaptive average pool(GELU(W X))), projected like X
    B               an MLP of the displacement from the pooled cell's middle to the query (`DisplacementBias`)
    E, L, c         learned: query embedding, tokens that give each neighbour a weight beside the softmax, and its bias

Neighbours outside the map get no share of the softmax; what L and c give them falls on values of zero. Without a
window (`window` None, the last stage) all tokens are keys and the softmax is all there is.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.errors import require
from stmbench.mixers import presets
from stmbench.mixers.affinity import PointAffinity, join_heads, map_columns, split_into_heads, with_cells
from stmbench.mixers.base import BlockPosition, Mixer, MixerConfig, ZeroGradient, register_mixer
from stmbench.mixers.ops import cached_table, renamed
from stmbench.mixers.ops.attention import DisplacementBias
from stmbench.mixers.ops.determinism import POOLED
from stmbench.mixers.ops.neighbourhood_sums import group_products, group_sums, neighbour_index
from stmbench.mixers.ops.stages import require_stages

HIDDEN = ("inner.weight", "inner.bias", "outer.weight")
UNITS, OFF = "some hidden units", "displacements fill a small square, and some ReLUs are off everywhere in it"
START = 1 / 0.24  # of softplus(T)
Size = tuple[int, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AggregatedAttnConfig(MixerConfig):
    """`heads` heads, neighbours in a `window` x `window` window, a map pooled by `ratio`, or to `pool` x `pool` cells.
    Displacements are in units of the map, or of a map of `design` tokens."""

    heads: int
    window: int | None = 3
    ratio: int = 2
    pool: int | None = None
    design: Size | None = None
    bias: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.heads >= 1 and self.dim % self.heads == 0, f"heads that divide dim {self.dim}", self.heads)
        window = self.window
        require(window is None or (window >= 1 and window % 2 == 1), "an odd window >= 1, or None", window)
        require(self.ratio >= 1, "ratio >= 1", self.ratio)
        require(self.pool is None or self.pool >= 1, "pool >= 1, or None", self.pool)
        require(self.design is None or min(self.design) >= 1, "a design of at least 1 x 1, or None", self.design)

    def cells(self, height: int, width: int) -> Size:
        """Pooled cells, down and across; every token is one where there is no window."""
        if self.window is None:
            return height, width
        rows, columns = (max(1, min(self.pool or size // self.ratio, size)) for size in (height, width))
        return rows, columns


def config_at(
    position: BlockPosition,
    *,
    head_dim: int = 32,
    ratios: tuple[int, int, int, int] = (8, 4, 2, 1),
    windows: tuple[int | None, ...] = (3, 3, 3, None),
    pool: int | None = None,
    keep_distances: bool = False,
    bias: bool = True,
) -> AggregatedAttnConfig:
    """The ratio falls from stage to stage, and the last stage has no window. `keep_distances` has displacements in
    units of the design size, so that the bias of a distance is the same on larger maps."""
    require(head_dim >= 1 and position.dim % head_dim == 0, f"dim {position.dim} divisible by head_dim", head_dim)
    require_stages("ratios", ratios)
    require_stages("windows", windows)
    return AggregatedAttnConfig(
        dim=position.dim,
        heads=position.dim // head_dim,
        window=windows[position.stage],
        ratio=ratios[position.stage],
        pool=pool,
        design=position.resolution if keep_distances else None,
        bias=bias,
    )


@register_mixer(
    "aggregated_attn",
    config=AggregatedAttnConfig,
    config_at=config_at,
    title="Aggregated Attention",
    abbreviation="Aggr-Attn",
    family="Global Attention",
    sampling="global",
    weights="dynamic",
    method="TransNeXt",
    citation="Shi, CVPR 2024",
    nondeterministic_backward=POOLED,
    zero_gradient=(
        ZeroGradient(
            parameter="token_bias.outer.bias",
            part="all of it",
            reason="without a window it adds the same to every logit of a head, and softmax ignores it",
            whole=True,
        ),
        *(ZeroGradient(parameter=f"*_bias.{name}", part=UNITS, reason=OFF) for name in HIDDEN),
    ),
    channel_multiple=32,
    palette_slot=28,
    presets=presets.matched((2, 2, 9, 2), (2, 2, 6, 2), tiny_dims=(96, 192, 384, 704), head_dim=16),
    layouts=presets.tiny_layout((72, 144, 288, 576), (2, 2, 15, 2), (8, 8, 4, 4), head_dim=24),
)
class AggregatedAttn(Mixer):
    """(B, H, W, C) -> (B, H, W, C). A map that is smaller than the ratio is pooled to one cell."""

    config: AggregatedAttnConfig

    def __init__(self, config: AggregatedAttnConfig) -> None:
        super().__init__()
        self.config = config
        dim, heads, depth = config.dim, config.heads, config.dim // config.heads
        self.q = nn.Linear(dim, dim, bias=config.bias)
        self.kv = nn.Linear(dim, 2 * dim, bias=config.bias)  # all keys, then all values
        self.proj = nn.Linear(dim, dim)
        self.temperature = nn.Parameter(torch.full((heads, 1), math.log(math.expm1(START))))
        self.query_embedding = nn.Parameter(nn.init.trunc_normal_(torch.empty(heads, depth), std=0.02))
        if config.window is None:
            self.token_bias = DisplacementBias(heads)
            return
        self.cell_bias = DisplacementBias(heads)
        self.reduce = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim, eps=1e-5)
        taps = config.window**2
        self.near_bias = nn.Parameter(nn.init.trunc_normal_(torch.empty(heads, taps), std=0.0004))
        self.near_tokens = nn.Parameter(nn.init.trunc_normal_(torch.empty(heads, depth, taps), std=0.02))
        self.near_constant = nn.Parameter(torch.zeros(heads, taps))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        near, pooled, v, v_pooled = self._weights(x)
        mixed = join_heads(pooled @ v_pooled, *x.shape[1:3])
        if near is not None and self.config.window is not None:
            mixed = mixed + group_sums(v, near, self.config.window)
        projected: Tensor = self.proj(mixed)
        return projected

    def reference(self, x: Tensor) -> Tensor:
        """The same map, neighbour by neighbour and cell by cell, each from its coordinates."""
        config, (batch, height, width, dim) = self.config, x.shape
        shape = (batch, height, width, config.heads, dim // config.heads)
        q = _unit(self.q(x).view(shape))
        k, v = (part.reshape(shape) for part in self.kv(x).chunk(2, -1))
        row, column = torch.arange(height)[:, None], torch.arange(width)
        logits, values, seen = [], [], torch.zeros(height, width, dtype=x.dtype)
        beside = torch.zeros_like(q)  # of the weights beside the softmax
        radius = 0 if config.window is None else config.window // 2
        embedded = (q + self.query_embedding) * torch.log(1 + self.temperature.exp())
        side = range(-radius, radius + 1) if config.window is not None else range(0)
        for tap, (down, right) in enumerate((down, right) for down in side for right in side):
            ky, kx = row + down, column + right
            exists = (ky >= 0) & (ky < height) & (kx >= 0) & (kx < width)
            where = slice(None), ky.clamp(0, height - 1), kx.clamp(0, width - 1)
            seen = seen + exists
            logits.append((embedded, _unit(k[where]), self.near_bias[:, tap], exists[..., None]))
            values.append(v[where] * exists[..., None, None])
            weight = (q * self.near_tokens[..., tap]).sum(-1) + self.near_constant[:, tap]
            beside = beside + weight[..., None] * values[-1]
        rows, columns = config.cells(height, width)
        bias_of = self.token_bias if config.window is None else self.cell_bias
        activated = None if config.window is None else F.gelu(self.reduce(x))
        for cell in range(rows * columns):
            index = cell // columns, cell % columns
            top, left = index[0] * height // rows, index[1] * width // columns
            bottom, right = -(-(index[0] + 1) * height // rows), -(-(index[1] + 1) * width // columns)
            if activated is None:
                key, value = k[:, top, left], v[:, top, left]
            else:
                token = self.norm(activated[:, top:bottom, left:right].mean((1, 2)))
                key, value = self.kv(token).view(batch, 2, *shape[3:]).unbind(1)
            away = row.to(x) - (top + bottom - 1) / 2, column.to(x) - (left + right - 1) / 2
            bias = bias_of.reference(*away, config.design or (height, width))
            logits.append((embedded, _unit(key)[:, None, None], bias, torch.ones(1, 1, 1, dtype=torch.bool)))
            values.append(value[:, None, None].expand(shape))
        length = (seen + rows * columns).log()[..., None]
        terms = [
            ((query * key).sum(-1) * length + bias).masked_fill(~exists, -torch.inf)
            for query, key, bias, exists in logits
        ]
        weights = torch.stack(terms, -1).softmax(-1)  # B, H, W, heads, keys
        mixed = torch.einsum("bhwnk,kbhwnd->bhwnd", weights, torch.stack(values)) + beside
        projected: Tensor = self.proj(mixed.flatten(3))
        return projected

    def affinity(self, x: Tensor) -> PointAffinity:
        """(B, H, W, C) -> (B, heads, H * W, H * W + P): the columns are the map's tokens and the pooled cells (or the
        tokens alone)."""
        height, width = x.shape[1:3]
        near, pooled, _, _ = self._weights(x)
        cells, columns = torch.arange(pooled.shape[-1], device=x.device), map_columns(height, width, device=x.device)
        if near is None or self.config.window is None:
            return PointAffinity(cells.expand(pooled.shape), pooled, columns)
        taps = neighbour_index(height, width, self.config.window, x.device)
        index = torch.cat((taps.clamp(min=0), (cells + height * width).expand(len(taps), -1)), 1)
        weights = torch.cat((near.flatten(1, 2).transpose(1, 2) * (taps >= 0), pooled), -1)
        every = with_cells(columns, self.config.cells(height, width))
        return PointAffinity(index.expand(weights.shape), weights, every)

    def values(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, heads, H * W + P, d)."""
        near, _, v, v_pooled = self._weights(x)
        return v_pooled if near is None else torch.cat((split_into_heads(v, self.config.heads), v_pooled), 2)

    def project(self, mixed: Tensor, height: int, width: int) -> Tensor:
        """(B, heads, H * W, d) -> (B, H, W, C)."""
        projected: Tensor = self.proj(join_heads(mixed, height, width))
        return projected

    def no_weight_decay(self) -> set[str]:
        """What the authors leave out: biases by position, the query embedding, the temperature."""
        names = {name for name, _ in self.named_parameters()}
        return {name for name in names if name.startswith(("token_bias.", "cell_bias.", "near_bias", "temp", "query_"))}

    def from_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The authors' names; in the last stage queries, keys and values are one layer there."""
        own = "token_bias." if self.config.window is None else "cell_bias."
        names = {"cpb_fc1.": f"{own}inner.", "cpb_fc2.": f"{own}outer.", "relative_pos_bias_local": "near_bias"}
        names |= {"learnable_tokens": "near_tokens", "learnable_bias": "near_constant", "sr.": "reduce."}
        named = renamed(state, names)
        for name in named.keys() & {"temperature", "query_embedding", "near_constant"}:
            named[name] = named[name].squeeze(1) if named[name].ndim == 3 else named[name]  # 2: this module's own
        for kind in ("weight", "bias"):
            if (qkv := named.pop(f"qkv.{kind}", None)) is not None:
                named[f"q.{kind}"], named[f"kv.{kind}"] = qkv[: self.config.dim], qkv[self.config.dim :]
        return named

    def macs(self, height: int, width: int) -> int:
        """4 N C^2 and 2 N P C without a window; with one 5 N C^2, 2 P C^2, 2 N P C and 3 N K^2 C; and the MLP of the
        displacements."""
        config, tokens, dim = self.config, height * width, self.config.dim
        cells = config.cells(height, width)
        pooled = cells[0] * cells[1]
        if config.window is None:
            return 4 * tokens * dim**2 + 2 * tokens * pooled * dim + self.token_bias.macs((height, width), cells)
        every = (5 * tokens + 2 * pooled) * dim**2 + tokens * dim * (2 * pooled + 3 * config.window**2)
        return every + self.cell_bias.macs((height, width), cells)

    def _weights(self, x: Tensor) -> tuple[Tensor | None, Tensor, Tensor, Tensor]:
        """Weights of the neighbours (B, H, W, heads, K^2) and of the cells (B, heads, N, P), and both their values
        (B, H, W, C) and (B, heads, P, d). Without a window, the tokens are the cells."""
        config, (batch, height, width, _), heads = self.config, x.shape, self.config.heads
        cells, window = config.cells(height, width), config.window
        q = F.normalize(self.q(x).view(batch, height, width, heads, -1), dim=-1)
        length = _log_keys((height, width), window, cells, q.dtype, x.device)
        embedded = (q + self.query_embedding) * (F.softplus(self.temperature) * length)
        queries = embedded.flatten(1, 2).transpose(1, 2)
        unit = config.design or (height, width)
        k, v = self.kv(x).chunk(2, dim=-1)
        if window is None:
            keys = F.normalize(split_into_heads(k, heads), dim=-1)
            bias = self.token_bias((height, width), cells, unit)
            return None, (queries @ keys.transpose(2, 3) + bias).softmax(-1), v, split_into_heads(v, heads)
        k = F.normalize(k.view(q.shape), dim=-1)
        near = group_products(embedded, k, window) + self.near_bias
        taps = neighbour_index(height, width, window, x.device)
        near = near.masked_fill((taps < 0).view(height, width, 1, -1), -torch.inf)
        maps = F.gelu(self.reduce(x)).permute(0, 3, 1, 2)  # a channels-last view: no copy
        tokens = self.norm(F.adaptive_avg_pool2d(maps, cells).permute(0, 2, 3, 1))
        k_pooled, v_pooled = (split_into_heads(part, heads) for part in self.kv(tokens).chunk(2, dim=-1))
        pooled = queries @ F.normalize(k_pooled, dim=-1).transpose(2, 3) + self.cell_bias((height, width), cells, unit)
        both = torch.cat((near.flatten(1, 2).transpose(1, 2), pooled), -1).softmax(-1)  # B, heads, N, K^2 + P
        near, pooled = both[..., : window**2], both[..., window**2 :]
        beside = torch.einsum("bhwnd,ndt->bhwnt", q, self.near_tokens) + self.near_constant
        return near.transpose(1, 2).reshape(beside.shape) + beside, pooled, v, v_pooled


def _unit(x: Tensor) -> Tensor:
    """Vectors of length 1, for `reference`."""
    return x / x.square().sum(-1, keepdim=True).sqrt()


@cached_table
def _log_keys(size: Size, window: int | None, cells: Size, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(H, W, 1, 1): the logarithm of how many keys each token has, its neighbours on the map and the cells."""
    near = 0 if window is None else (neighbour_index(*size, window, device) >= 0).sum(1).view(*size, 1, 1)
    return torch.full((*size, 1, 1), cells[0] * cells[1], device=device).add(near).to(dtype).log()
