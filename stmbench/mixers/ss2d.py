"""2D selective scan: four selective state space scans over the map, added up.

Liu et al., "VMamba: Visual State Space Model", NeurIPS 2024, section 4.2 and figure 3, with the scan of Gu and Dao,
"Mamba", COLM 2024, eqs. 2 and 4. Along each path (row by row, column by column, and both from the end):

    X = SiLU(conv3x3(W_in x)),  (d_t, B_t, C_t) = W_k X_t,  delta_t = softplus(W_dt d_t + b_dt)
    h_t = exp(delta_t A) h_(t-1) + delta_t B_t X_t,  y_t = C_t h_t + D X_t;  Y = W_out LayerNorm(sum of the four y)

Variants of the authors' code: `v0` and `v05` multiply the normed sum by SiLU of a second half of W_in's output (the
gate), and their convolution has a bias; `v05_noz`, that of the published VMamba-T, S and B, has neither. `v0` and `v05`
are the same map under other names of the weights.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.errors import require
from stmbench.mixers import presets
from stmbench.mixers.affinity import SelectiveScanAffinity, map_columns, split_into_heads
from stmbench.mixers.base import BlockPosition, Mixer, MixerConfig, register_mixer
from stmbench.mixers.ops.neighbourhood_sums import kernel_sum
from stmbench.mixers.ops.scan import initial_delta_bias, selective_scan, selective_scan_reference, wide

VARIANTS: Final = ("v05_noz", "v05", "v0")
PATHS: Final = 4
KERNEL: Final = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class SS2DConfig(MixerConfig):
    """`dim` x `ssm_ratio` channels are scanned, with `d_state` states each; delta is of rank `dim` / 16, rounded up."""

    d_state: int = 1
    ssm_ratio: float = 1.0
    variant: str = "v05_noz"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.d_state >= 1, "d_state >= 1", self.d_state)
        require(self.inner >= 1, "an ssm_ratio that leaves a channel", self.ssm_ratio)
        require(self.variant in VARIANTS, f"a variant of {', '.join(VARIANTS)}", self.variant)

    @property
    def inner(self) -> int:
        """Channels that are scanned."""
        return int(self.dim * self.ssm_ratio)

    @property
    def rank(self) -> int:
        """Of delta."""
        return math.ceil(self.dim / 16)

    @property
    def gate(self) -> bool:
        """Whether there is a gate, and a bias of the convolution with it."""
        return self.variant != "v05_noz"


def config_at(
    position: BlockPosition, *, d_state: int = 1, ssm_ratio: float = 1.0, variant: str = "v05_noz"
) -> SS2DConfig:
    """The same in every block; the defaults are those of the published tiny network (vmambav2v_tiny)."""
    return SS2DConfig(dim=position.dim, d_state=d_state, ssm_ratio=ssm_ratio, variant=variant)


@register_mixer(
    "ss2d",
    config=SS2DConfig,
    config_at=config_at,
    title="2D Selective Scan",
    abbreviation="SS2D",
    family="State Space",
    sampling="global",
    weights="dynamic",
    method="VMamba",
    citation="Liu et al., NeurIPS 2024",
    palette_slot=32,
    presets=presets.matched((2, 2, 9, 2), (2, 2, 6, 2), micro_dims=(38, 76, 152, 304), tiny_dims=(106, 212, 424, 848)),
    layouts=presets.tiny_layout((96, 192, 384, 768), (2, 2, 8, 2)),
)
class SS2D(Mixer):
    """(B, H, W, C) -> (B, H, W, C). The states, their sum and the norm are float32 in half precision.

    The backward pass is deterministic. A norm (and a gate) follow the aggregation, so the affinity's product with the
    values is compared there, in `aggregated`; the values are what is scanned.
    """

    config: SS2DConfig

    def __init__(self, config: SS2DConfig) -> None:
        super().__init__()
        self.config = config
        inner, rank, states = config.inner, config.rank, config.d_state
        self.in_proj = nn.Linear(config.dim, inner * (2 if config.gate else 1), bias=False)
        self.conv2d = nn.Conv2d(inner, inner, KERNEL, padding=KERNEL // 2, groups=inner, bias=config.gate)
        bound = inner**-0.5
        self.x_proj_weight = nn.Parameter(torch.empty(PATHS, rank + 2 * states, inner).uniform_(-bound, bound))
        self.dt_projs_weight = nn.Parameter(torch.empty(PATHS, inner, rank).uniform_(-(rank**-0.5), rank**-0.5))
        self.dt_projs_bias = nn.Parameter(initial_delta_bias(PATHS, inner))
        self.A_logs = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(PATHS * inner, 1))
        self.Ds = nn.Parameter(torch.ones(PATHS * inner))
        self.out_norm = nn.LayerNorm(inner, eps=1e-5)
        self.out_proj = nn.Linear(inner, config.dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        scanned, gate = self._scanned_and_gate(x)
        _, height, width, _ = x.shape
        values = wide(scanned)
        mixed = merge_paths(selective_scan(along_paths([values] * PATHS), *self._weights(scanned)), height, width)
        return self._project(torch.addcmul(mixed, values, self._skip(values).sum(dim=0)), gate)

    def reference(self, x: Tensor) -> Tensor:
        """The same map, path by path and position by position."""
        first, gate = self.in_proj(x), None
        if self.config.gate:
            first, gate = first[..., : self.config.inner], F.silu(first[..., self.config.inner :])
        bias = 0 if self.conv2d.bias is None else self.conv2d.bias
        values = F.silu(kernel_sum(first, self.conv2d.weight[:, 0]) + bias)
        by_rows = [(row, column) for row in range(x.shape[1]) for column in range(x.shape[2])]
        by_columns = sorted(by_rows, key=lambda place: place[::-1])
        total = torch.zeros_like(values)
        for k, path in enumerate((by_rows, by_columns, by_rows[::-1], by_columns[::-1])):
            rows, columns = (torch.tensor(axis, device=x.device) for axis in zip(*path, strict=True))
            of_path = slice(k * self.config.inner, (k + 1) * self.config.inner)
            sequence = values[:, rows, columns]  # B, L, D
            sizes = [self.config.rank, self.config.d_state, self.config.d_state]
            low, b, c = torch.split(sequence @ self.x_proj_weight[k].T, sizes, dim=-1)
            delta = F.softplus(low @ self.dt_projs_weight[k].T + self.dt_projs_bias[k])
            a = -torch.exp(self.A_logs[of_path]).T
            y = selective_scan_reference(sequence[None], delta[None], a[None], b[None], c[None])[0]
            total[:, rows, columns] += y + self.Ds[of_path] * sequence
        normed: Tensor = self.out_norm(total)
        result: Tensor = self.out_proj(normed if gate is None else normed * gate)
        return result

    def affinity(self, x: Tensor) -> SelectiveScanAffinity:
        """(B, H, W, C) -> (B, D, H * W, H * W): every channel is a head."""
        _, height, width, _ = x.shape
        scanned, _ = self._scanned_and_gate(x)
        tokens = torch.arange(height * width, device=x.device).view(1, height, width, 1)
        return SelectiveScanAffinity(
            *self._weights(scanned),
            self._skip(wide(scanned)),
            along_paths([tokens] * PATHS)[:, 0, :, 0],
            map_columns(height, width, device=x.device),
            joined=True,
        )

    def values(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, D, H * W, 1): what is scanned, after the convolution and its activation."""
        return split_into_heads(wide(self._scanned_and_gate(x)[0]), self.config.inner)

    def aggregated(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, D, H * W, 1): the sum of the four scans, before the norm."""
        scanned, _ = self._scanned_and_gate(x)
        values = wide(scanned)
        mixed = selective_scan(along_paths([values] * PATHS), *self._weights(scanned))
        skipped = values * self._skip(values).sum(dim=0)
        return split_into_heads(merge_paths(mixed, x.shape[1], x.shape[2]) + skipped, self.config.inner)

    def no_weight_decay(self) -> set[str]:
        """The decay rates and the direct path."""
        return {"A_logs", "Ds"}

    def from_published(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """VMamba's SS2D: from v05 on the four paths' projections are one grouped convolution's weight."""
        names = {"x_proj.weight": "x_proj_weight", "dt_projs.weight": "dt_projs_weight"}
        return {
            names.get(name, name): tensor.reshape(PATHS, -1, tensor.shape[-1]) if name in names else tensor
            for name, tensor in state.items()
        }

    def macs(self, height: int, width: int) -> int:
        """N (2 C D + 9 D + 4 D (2 r + 2 n) + 8 D n), and N C D with a gate: projections and convolution; weights of the
        scans; recurrence and the product with C."""
        dim, inner, states = self.config.dim, self.config.inner, self.config.d_state
        projections = (3 if self.config.gate else 2) * dim + KERNEL**2
        scans = PATHS * (2 * self.config.rank + 2 * states + 2 * states)
        return height * width * inner * (projections + scans)

    def _scanned_and_gate(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """What is scanned and SiLU of the gate, (B, H, W, D) each."""
        first, gate = self.in_proj(x), None
        if self.config.gate:
            first, gate = first.chunk(2, dim=-1)
            gate = F.silu(gate)
        image = first.permute(0, 3, 1, 2)  # a channels-last view: no copy
        return F.silu(self.conv2d(image)).permute(0, 2, 3, 1), gate

    def _weights(self, scanned: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """delta, A, B and C of the four scans, see `selective_scan`; scanned: (B, H, W, D)."""
        config = self.config
        maps = F.linear(scanned, self.x_proj_weight.flatten(0, 1)).chunk(PATHS, dim=-1)  # B, H, W, r + 2n each
        low, b, c = torch.split(along_paths(maps), [config.rank, config.d_state, config.d_state], dim=-1)
        raw = torch.matmul(low.flatten(1, 2), self.dt_projs_weight.mT)  # K, B L, D
        raw = wide(raw).view(*low.shape[:3], -1) + wide(self.dt_projs_bias)[:, None, None]
        a = -torch.exp(wide(self.A_logs)).view(PATHS, config.inner, config.d_state).mT
        return F.softplus(raw), a, wide(b), wide(c)

    def _skip(self, values: Tensor) -> Tensor:
        """(K, D) in the dtype of the values."""
        return self.Ds.to(values.dtype).view(PATHS, -1)

    def _project(self, mixed: Tensor, gate: Tensor | None) -> Tensor:
        norm = self.out_norm
        normed = F.layer_norm(mixed, norm.normalized_shape, wide(norm.weight), wide(norm.bias), norm.eps)
        normed = normed.to(self.out_proj.weight.dtype)
        result: Tensor = self.out_proj(normed if gate is None else normed * gate)
        return result


def along_paths(maps: Sequence[Tensor]) -> Tensor:
    """Four maps (B, H, W, F), one for each path -> (4, B, L, F): by rows, by columns, and both from the end."""
    by_rows, by_columns, rows_back, columns_back = maps
    return torch.stack(
        (
            by_rows.flatten(1, 2),
            by_columns.transpose(1, 2).flatten(1, 2),
            rows_back.flatten(1, 2).flip(1),
            columns_back.transpose(1, 2).flatten(1, 2).flip(1),
        )
    )


def merge_paths(paths: Tensor, height: int, width: int) -> Tensor:
    """(4, B, L, D) -> (B, H, W, D): the sum of the four, each token where it came from."""
    _, batch, _, dim = paths.shape
    by_rows, by_columns = paths[0] + paths[2].flip(1), paths[1] + paths[3].flip(1)
    return by_rows.view(batch, height, width, dim) + by_columns.view(batch, width, height, dim).transpose(1, 2)
