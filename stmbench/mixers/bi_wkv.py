"""Bi-WKV: a mean of all tokens, whose weights decay with the distance along the raster in both directions.

Duan et al., "Vision-RWKV", ICLR 2025, eqs. 1 to 5. Each channel by itself, over the T tokens row by row:

    k, v, r = W_k X_k, W_v X_v, W_r X_r,   X_* = mu_* X + (1 - mu_*) Q-Shift(X)
    e_ti = k_i - (|t - i| - 1) w / T for i != t,  e_tt = k_t + u / T
    Y = W_o (sigmoid(r) * sum_i softmax_i(e_ti) v_i)

Q-Shift moves the four quarters of the channels by one token to the right, left, down and up, with zeros at the border.
The authors' code divides u by T as well as w, which the paper does not; so does this. Their CUDA kernel adds 1e-6 to
the sum of weights, and at the first token of each of its 32 blocks takes |t - i| for |t - i| - 1; this follows the
paper.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.errors import require
from stmbench.mixers import presets
from stmbench.mixers.affinity import DecayAffinity, map_columns, split_into_heads
from stmbench.mixers.base import BlockPosition, Mixer, MixerConfig, register_mixer
from stmbench.mixers.ops.scan import linear_scan, wide

INITS: Final = ("fancy", "local", "global")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BiWKVConfig(MixerConfig):
    """Initial weights depend on the block's place in the network.

    Attributes:
        index, depth: of the block, and how many there are; they matter for the `fancy` initial weights only.
        init: `fancy` (decays and mixtures differ between channels and blocks), `local` or `global`.
        key_norm: LayerNorm of the mean, before the gate.
        shift: mix each token with its neighbours (Q-Shift) first.
    """

    index: int = 0
    depth: int = 1
    init: str = "fancy"
    key_norm: bool = False
    shift: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.init in INITS, f"init of {', '.join(INITS)}", self.init)
        require(0 <= self.index < self.depth, f"an index from 0 to {self.depth - 1}", self.index)


def config_at(
    position: BlockPosition, *, init: str = "fancy", key_norm: bool = False, shift: bool = True
) -> BiWKVConfig:
    """The same in every block but for the initial weights."""
    place = {"index": position.index, "depth": position.depth}
    return BiWKVConfig(dim=position.dim, **place, init=init, key_norm=key_norm, shift=shift)


@register_mixer(
    "bi_wkv",
    config=BiWKVConfig,
    config_at=config_at,
    title="Bidirectional WKV",
    abbreviation="Bi-WKV",
    family="Linear Attention",
    sampling="global",
    weights="dynamic",
    method="VRWKV",
    citation="Duan et al., ICLR 2025",
    softmax_rows=True,
    palette_slot=34,
    presets=presets.matched((2, 2, 14, 2), (2, 2, 6, 2), tiny_dims=(100, 200, 400, 800)),
)
class BiWKV(Mixer):
    """(B, H, W, C) -> (B, H, W, C). Weights and sums are float32 in half precision; backward is deterministic.

    Weights are relative to that of the largest key of the image in each channel. While its keys lie within 80 of one
    another, decays and u may be any numbers, of either sign; while |w| and |u| / T are below 80, so may the keys. The
    gate depends on the input, so the affinity's product is compared before it, in `aggregated`.
    """

    config: BiWKVConfig

    def __init__(self, config: BiWKVConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.spatial_decay, self.spatial_first = (nn.Parameter(values) for values in initial_decays(config))
        if config.shift:
            mixtures = initial_mixtures(config)
            self.spatial_mix_k, self.spatial_mix_v, self.spatial_mix_r = (nn.Parameter(values) for values in mixtures)
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.receptance = nn.Linear(dim, dim, bias=False)
        self.key_norm = nn.LayerNorm(dim) if config.key_norm else None
        self.output = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        k, v, r = self._projected(x)
        mean = self._mean(k, v).view(x.shape)
        if self.key_norm is not None:
            norm = self.key_norm
            mean = F.layer_norm(mean, norm.normalized_shape, wide(norm.weight), wide(norm.bias), norm.eps)
        gated = torch.sigmoid(wide(r)) * mean
        result: Tensor = self.output(gated.to(self.output.weight.dtype))
        return result

    def reference(self, x: Tensor) -> Tensor:
        """The same map from the paper's sums, output by output."""
        _, height, width, dim = x.shape
        quarter = dim // 4
        moved = x.clone()
        for group, (down, right) in enumerate(((0, 1), (0, -1), (1, 0), (-1, 0))):
            channels = slice(group * quarter, (group + 1) * quarter)
            for row in range(height):
                for column in range(width):
                    there = (row - down, column - right)
                    inside = 0 <= there[0] < height and 0 <= there[1] < width
                    moved[:, row, column, channels] = x[:, there[0], there[1], channels] if inside else 0
        mixed = [x, x, x]
        if self.config.shift:
            shares = (self.spatial_mix_k, self.spatial_mix_v, self.spatial_mix_r)
            mixed = [share * x + (1 - share) * moved for share in shares]
        k, v, r = self.key(mixed[0]), self.value(mixed[1]), self.receptance(mixed[2])
        places = [(row, column) for row in range(height) for column in range(width)]
        rows, columns = (torch.tensor(axis, device=x.device) for axis in zip(*places, strict=True))
        k, v = k[:, rows, columns], v[:, rows, columns]  # B, T, C
        number = torch.arange(len(places), dtype=x.dtype, device=x.device)[:, None]
        mean = torch.empty_like(x)
        for t, (row, column) in enumerate(places):
            exponents = k - ((number - t).abs() - 1) * self.spatial_decay / len(places)
            exponents[:, t] = k[:, t] + self.spatial_first / len(places)
            mean[:, row, column] = (exponents.softmax(dim=1) * v).sum(dim=1)
        if self.key_norm is not None:
            mean = self.key_norm(mean)
        result: Tensor = self.output(torch.sigmoid(r) * mean)
        return result

    def affinity(self, x: Tensor) -> DecayAffinity:
        """(B, H, W, C) -> (B, C, H * W, H * W): every channel is a head."""
        _, height, width, _ = x.shape
        k, _, _ = self._projected(x)
        decay, first = self._rates(height * width)
        return DecayAffinity(wide(k).flatten(1, 2), decay, first, map_columns(height, width, device=x.device))

    def values(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, C, H * W, 1)."""
        return split_into_heads(wide(self._projected(x)[1]), self.config.dim)

    def aggregated(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, C, H * W, 1): the mean, before its norm and the gate."""
        k, v, _ = self._projected(x)
        return split_into_heads(self._mean(k, v).view(x.shape), self.config.dim)

    def no_weight_decay(self) -> set[str]:
        """Decays, the bonus of a token for itself, and the shares of Q-Shift."""
        mixtures = {"spatial_mix_k", "spatial_mix_v", "spatial_mix_r"} if self.config.shift else set()
        return {"spatial_decay", "spatial_first"} | mixtures

    def from_published(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Vision-RWKV's `VRWKV_SpatialMix`: the shares have two more axes there."""
        return {name: tensor.flatten() if "spatial_mix" in name else tensor for name, tensor in state.items()}

    def macs(self, height: int, width: int) -> int:
        """4 N C^2 for the projections, 4 N C for the two scans of the weighted sum and the sum of weights."""
        return height * width * self.config.dim * (4 * self.config.dim + 4)

    def _projected(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """k, v and r, (B, H, W, C) each."""
        if not self.config.shift:
            return self.key(x), self.value(x), self.receptance(x)
        moved = q_shift(x)
        shares = (self.spatial_mix_k, self.spatial_mix_v, self.spatial_mix_r)
        mixed = [torch.lerp(moved, x, share.to(x.dtype)) for share in shares]
        return self.key(mixed[0]), self.value(mixed[1]), self.receptance(mixed[2])

    def _rates(self, tokens: int) -> tuple[Tensor, Tensor]:
        """w / T and u / T, (C,) each."""
        return wide(self.spatial_decay) / tokens, wide(self.spatial_first) / tokens

    def _mean(self, k: Tensor, v: Tensor) -> Tensor:
        """(B, H, W, C) each -> (B, T, C): the weighted mean, by one scan from either end."""
        k, v = wide(k).flatten(1, 2), wide(v).flatten(1, 2)
        decay, first = self._rates(k.shape[1])
        weights = torch.exp(k - k.amax(dim=1, keepdim=True).detach())
        terms = torch.stack((weights * v, weights), dim=2)  # B, T, 2, C: sums of values and of weights
        # With a negative decay weights grow with the distance, as e^(n |w| / T): a scan leaves this growth out, and the
        # three parts are joined relative to the largest of their factors, so that no exponent is above 0. The mean does
        # not depend on what it is relative to, and no gradient goes through
        negative = decay.detach().clamp(max=0)
        shrinking = torch.arange(k.shape[1], dtype=k.dtype, device=k.device)[:, None] * negative  # T, C
        both = torch.stack((terms, terms.flip(1))).mul_(torch.exp(shrinking)[:, None])
        sums = linear_scan(torch.exp(negative - decay), both)
        before = F.pad(sums[:, :, :-1], (0, 0, 0, 0, 1, 0))  # what the tokens before have left
        growth = F.pad(-shrinking[:-1], (0, 0, 1, 0), value=-math.inf)  # there are none before the first
        top = torch.maximum(torch.maximum(growth, growth.flip(0)), first.detach())
        itself, ahead = (torch.exp(part - top)[:, None] for part in (first, growth))  # T, 1, C
        total = (terms * itself).addcmul_(before[0], ahead).addcmul_(before[1].flip(1), ahead.flip(0))
        return total[:, :, 0] / total[:, :, 1]


def q_shift(x: Tensor) -> Tensor:
    """(B, H, W, C): quarters of the channels from the left, right, top and bottom neighbour; what is left stays."""
    quarter = x.shape[3] // 4
    if quarter == 0:
        return x  # fewer than four channels: nothing is left to move, and PyTorch 2.5 pads no empty tensor
    left, right, top, bottom, rest = torch.split(x, [quarter] * 4 + [x.shape[3] - 4 * quarter], dim=3)
    moved = (
        F.pad(left[:, :, :-1], (0, 0, 1, 0)),
        F.pad(right[:, :, 1:], (0, 0, 0, 1)),
        F.pad(top[:, :-1], (0, 0, 0, 0, 1, 0)),
        F.pad(bottom[:, 1:], (0, 0, 0, 0, 0, 1)),
    )
    return torch.cat((*moved, rest), dim=3)


def initial_decays(config: BiWKVConfig) -> tuple[Tensor, Tensor]:
    """w and u, (C,) each: in `fancy`, w grows from -5 to 3 over the channels, later in later blocks."""
    channels = torch.arange(config.dim, dtype=torch.float32)
    if config.init != "fancy":
        same = torch.full((config.dim,), 1.0 if config.init == "local" else 0.0)
        return same, same.clone()
    late = config.index / max(1, config.depth - 1)
    decay = -5 + 8 * (channels / max(1, config.dim - 1)) ** (0.7 + 1.3 * late)
    return decay, math.log(0.3) + 0.5 * ((channels + 1) % 3 - 1)


def initial_mixtures(config: BiWKVConfig) -> tuple[Tensor, Tensor, Tensor]:
    """The tokens' own shares in what k, v and r are made from, (C,) each."""
    if config.init != "fancy":
        share = torch.full((config.dim,), 1.0 if config.init == "local" else 0.5)
        return share, share.clone(), share.clone()
    late, early = config.index / max(1, config.depth - 1), 1 - config.index / config.depth
    channels = torch.arange(config.dim, dtype=torch.float32) / config.dim
    return channels**early, channels**early + 0.3 * late, channels ** (0.5 * early)
