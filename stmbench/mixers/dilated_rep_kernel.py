"""A large depthwise convolution that is trained with dilated ones beside it.

Ding et al., "UniRepLKNet: A Universal Perception Large-Kernel ConvNet", CVPR 2024, section 3.1 and fig. 2 (the dilated
re-parameterisation block):

    Y = sum_b BN_b(k_b * X),   13 x 13; 5 x 5, 7 x 7 with dilation 2, 3 x 3 with dilations 3, 4 and 5

All kernels fit into the largest, and `merge` makes them one. There are no projections: what follows in UniRepLKNet's
block (a norm, squeeze-and-excitation and the MLP) mixes no positions, or belongs to the architecture. UniRepLKNet-T has
3 x 3 kernels without other branches in the first stage and in every second block of the third; BatchNorm after such a
kernel is its block's norm. In training mode the norms depend on the batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from torch import Tensor

from stmbench.errors import require
from stmbench.mixers import presets
from stmbench.mixers.base import BlockPosition, register_mixer
from stmbench.mixers.ops.reparameterised import Branches
from stmbench.mixers.rep_large_kernel import BranchedConfig, BranchedKernels

# (side, dilation) of the kernels beside one of this side
BESIDE: dict[int, Branches] = {
    17: ((5, 1), (9, 2), (3, 4), (3, 5), (3, 7)),
    15: ((5, 1), (7, 2), (3, 3), (3, 5), (3, 7)),
    13: ((5, 1), (7, 2), (3, 3), (3, 4), (3, 5)),
    11: ((5, 1), (5, 2), (3, 3), (3, 4), (3, 5)),
    9: ((5, 1), (5, 2), (3, 3), (3, 4)),
    7: ((5, 1), (3, 2), (3, 3)),
    5: ((3, 1), (3, 2)),
    3: (),
}
LARGE, SMALL = 13, 3
ALTERNATING = 2  # the stage with small kernels in every second block


@dataclasses.dataclass(frozen=True, kw_only=True)
class DilatedRepKernelConfig(BranchedConfig):
    """The side of the largest kernel, which says what is beside it. The authors' block for 5 x 5 is
    not in their networks."""

    kernel: int = LARGE
    projections: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.kernel in BESIDE, f"a kernel of {', '.join(map(str, BESIDE))}", self.kernel)

    @property
    def branches(self) -> Branches:
        """The largest kernel, and those beside it."""
        return ((self.kernel, 1), *BESIDE[self.kernel])


def config_at(position: BlockPosition, *, kernel: int | None = None) -> DilatedRepKernelConfig:
    """Kernels of 3; 13; 13 and 3 in turn; 13 by stage, or `kernel` everywhere."""
    small = position.stage == 0 or (position.stage == ALTERNATING and position.block % 2 == 1)
    side = SMALL if small else LARGE
    return DilatedRepKernelConfig(dim=position.dim, kernel=side if kernel is None else kernel)


@register_mixer(
    "dilated_rep_kernel",
    config=DilatedRepKernelConfig,
    config_at=config_at,
    title="Dilated Re-Parameterised Kernel",
    abbreviation="DilRep",
    family="Convolution",
    sampling="local",
    weights="static",
    method="UniRepLKNet",
    citation="Ding et al., CVPR 2024",
    palette_slot=38,
    presets=presets.matched((2, 2, 10, 2), (2, 2, 8, 2), micro_dims=(40, 80, 160, 320), tiny_dims=(110, 220, 440, 880)),
    layouts=presets.tiny_layout((80, 160, 320, 640), (3, 3, 18, 3)),
)
class DilatedRepKernel(BranchedKernels):
    """(B, H, W, C) -> (B, H, W, C), zero padding outside the map. In training mode it depends on the batch."""

    config: DilatedRepKernelConfig

    def from_published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state dict of the authors' `DilatedReparamBlock`, before it is merged."""
        layers = {"lk_origin": "spread.convs.0", "origin_bn": "spread.norms.0"}
        for number, (side, dilation) in enumerate(BESIDE[self.config.kernel], start=1):
            layers[f"dil_conv_k{side}_{dilation}"] = f"spread.convs.{number}"
            layers[f"dil_bn_k{side}_{dilation}"] = f"spread.norms.{number}"
        names = ((name, *name.partition(".")) for name in state)
        return {layers.get(layer, layer) + dot + rest: state[name] for name, layer, dot, rest in names}
