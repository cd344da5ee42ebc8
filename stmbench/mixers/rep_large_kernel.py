"""A very large depthwise convolution with a small one beside it, between two projections.

Ding et al., "Scaling Up Your Kernels to 31x31: Revisiting Large Kernel Design in CNNs", CVPR 2022, section 3 and fig. 2
(the RepLK block, without its first norm and its residual, which belong to the architecture):

    Y = BN(W_out relu(BN_1(k * V) + BN_2(k' * V))),   V = relu(BN(W_in X)),   k 31 x 31, k' 5 x 5

RepLKNet's kernels are 31, 29, 27 and 13 from stage to stage. In training mode the norms depend on the batch; in eval
mode they do not, and `merge` puts the norms into the projections and both kernels into one.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.errors import require
from stmbench.mixers import presets
from stmbench.mixers.affinity import StencilAffinity, join_heads, map_columns, split_into_heads, square_offsets
from stmbench.mixers.base import BlockPosition, Mixer, MixerConfig, register_mixer
from stmbench.mixers.ops.depthwise import DepthwiseConv
from stmbench.mixers.ops.reparameterised import Branches, KernelBranches, NormedLinear

KERNELS = (31, 29, 27, 13)
PUBLISHED = {
    "pw1.conv": "proj_in.linear",
    "pw1.bn": "proj_in.norm",
    "pw2.conv": "proj_out.linear",
    "pw2.bn": "proj_out.norm",
    "lkb_origin.conv": "spread.convs.0",
    "lkb_origin.bn": "spread.norms.0",
    "small_conv.conv": "spread.convs.1",
    "small_conv.bn": "spread.norms.1",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class BranchedConfig(MixerConfig):
    """`kernel` x `kernel` (odd), with the branches of a subclass; without `projections` there is the sum alone."""

    kernel: int
    projections: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.kernel >= 1 and self.kernel % 2 == 1, "an odd kernel >= 1", self.kernel)

    @property
    def branches(self) -> Branches:
        """Side and dilation of every kernel."""
        return ((self.kernel, 1),)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RepLargeKernelConfig(BranchedConfig):
    """`small` x `small` is the second kernel (odd, not above `kernel`), None for none. Without `projections` the mixer
    is the sum of the two convolutions alone."""

    kernel: int = 31
    small: int | None = 5
    projections: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.small is not None:
            fits = 1 <= self.small <= self.kernel and self.small % 2 == 1
            require(fits, f"an odd small kernel, 1 to {self.kernel}, or None", self.small)

    @property
    def branches(self) -> Branches:
        """The large kernel, and the small one."""
        return ((self.kernel, 1),) if self.small is None else ((self.kernel, 1), (self.small, 1))


def config_at(
    position: BlockPosition, *, kernel: int | None = None, small: int | None = 5, projections: bool = True
) -> RepLargeKernelConfig:
    """Kernels of 31, 29, 27 and 13 by stage, or `kernel` everywhere."""
    side = KERNELS[min(position.stage, len(KERNELS) - 1)] if kernel is None else kernel
    return RepLargeKernelConfig(dim=position.dim, kernel=side, small=small, projections=projections)


class BranchedKernels(Mixer):
    """(B, H, W, C) -> (B, H, W, C): a sum of depthwise convolutions with BatchNorm, and projections around it or not.

    Zero padding outside the map. In training mode the result depends on the batch, and the affinity is that of eval
    mode.
    """

    config: BranchedConfig
    published: ClassVar[Mapping[str, str]]  # layers of the authors' module and ours

    def __init__(self, config: BranchedConfig) -> None:
        super().__init__()
        self.config = config
        self.proj_in: nn.Module = NormedLinear(config.dim) if config.projections else nn.Identity()
        self.spread: KernelBranches | DepthwiseConv = KernelBranches(config.dim, config.branches)
        self.proj_out: nn.Module = NormedLinear(config.dim) if config.projections else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        return self._finished(self.spread(self._values(x)))

    def reference(self, x: Tensor) -> Tensor:
        """The same map, with convolutions as sums over the taps."""
        if not self.config.projections:
            return self.spread.reference(x)
        y: Tensor = self.proj_out(self.spread.reference(self.proj_in(x).clamp(min=0)).clamp(min=0))
        return y

    def merge(self) -> BranchedKernels:
        """One kernel, and projections that have taken in their norms; itself if it is merged."""
        if isinstance(self.spread, DepthwiseConv):
            return self
        merged = copy.deepcopy(self)
        merged.spread = self.spread.merged()
        for name in ("proj_in", "proj_out"):
            layer = getattr(self, name)
            setattr(merged, name, layer.merged() if isinstance(layer, NormedLinear) else layer)
        return merged.eval()

    def affinity(self, x: Tensor) -> StencilAffinity:
        """(B, H, W, C) -> (B, C, H * W, H * W): every channel is a head, the merged kernel its weights."""
        batch, height, width, dim = x.shape
        kernel, _ = self.spread.kernel()
        # taps further out find nothing on this map
        surplus = max(0, kernel.shape[1] // 2 - max(height, width) + 1)
        side = kernel.shape[1] - 2 * surplus
        kernel = kernel[:, surplus : surplus + side, surplus : surplus + side].to(x.dtype)
        return StencilAffinity(
            kernel.reshape(1, dim, 1, side * side),
            square_offsets(side, x.device),
            map_columns(height, width, device=x.device),
            kind="static",
            batch=batch,
        )

    def values(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, C, H * W, 1)."""
        return split_into_heads(self._values(x), self.config.dim)

    def project(self, mixed: Tensor, height: int, width: int) -> Tensor:
        """(B, C, H * W, 1) -> (B, H, W, C). The norms' summands are added here: they belong to no column."""
        _, bias = self.spread.kernel()
        return self._finished(join_heads(mixed, height, width) + bias.to(mixed.dtype))

    def macs(self, height: int, width: int) -> int:
        """2 N C^2 for the projections, and N K^2 C for each kernel; norms are not counted."""
        layers = [layer for layer in self.spread.modules() if isinstance(layer, DepthwiseConv)]
        kernels = sum(layer.kernel_size[0] ** 2 for layer in layers)
        return height * width * self.config.dim * (2 * self.config.dim * self.config.projections + kernels)

    def from_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state dict of the authors' module, before it is merged."""
        named = {}
        for name, value in state.items():
            layer, _, rest = name.removeprefix("large_kernel.").rpartition(".")
            ours = self.published.get(layer)
            is_projection = value.ndim == 4 and ours is not None and ours.startswith("proj")
            named[name if ours is None else f"{ours}.{rest}"] = value[:, :, 0, 0] if is_projection else value
        return named

    def _values(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C): what the kernels are applied to."""
        return F.relu(self.proj_in(x)) if self.config.projections else x

    def _finished(self, mixed: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C): all that comes after the kernels."""
        y: Tensor = self.proj_out(F.relu(mixed)) if self.config.projections else mixed
        return y


@register_mixer(
    "rep_large_kernel",
    config=RepLargeKernelConfig,
    config_at=config_at,
    title="Re-Parameterised Large Kernel",
    abbreviation="RepLK",
    family="Convolution",
    sampling="local",
    weights="static",
    method="RepLKNet",
    citation="Ding et al., CVPR 2022",
    palette_slot=37,
    presets=presets.matched((2, 2, 6, 2), (2, 2, 6, 2)),
)
class RepLargeKernel(BranchedKernels):
    """(B, H, W, C) -> (B, H, W, C), zero padding outside the map. In training mode it depends on the batch."""

    config: RepLargeKernelConfig
    published = PUBLISHED
