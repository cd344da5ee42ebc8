"""The cotnet architecture's options, and its networks: one for each scale, and the authors' released ones.

Li et al., "Contextual Transformer Networks for Visual Recognition", 2021, section 3.3, Tables 1 and 2: ResNets whose
3 x 3 convolutions are replaced. `tiny`, `small` and `base` have the depths of 50, 101 and 152 layers; `micro` and
`nano` are ours.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from stmbench.architectures.backbone import BackboneConfig
from stmbench.architectures.base import REMEDY
from stmbench.architectures.layers import halved
from stmbench.errors import require
from stmbench.mixers.base import SCALES

EXPANSION = 4  # channels after a bottleneck, as a multiple of its `planes`
Pooling = Literal["average", "blur"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CotNetConfig(BackboneConfig):
    """Options besides the mixer's.

    Attributes:
        widths: channels inside the bottlenecks of each stage.
        planes: a quarter of the channels of each stage's map.
        replaced: the stages whose blocks hold the mixer in place of their 3 x 3 convolution, counted from 2 (res2) to 5
            (res5) as in the papers.
        alternate: the stages in which every other block does.
        deep: SE-CoTNetD's form: a stem of three 3 x 3 convolutions without pooling, average pooling in the shortcuts,
            split-attention convolutions in blocks without mixer, and stride 2 in every stage.
        pooling: how a block halves the map: an average before the mixer, or a blur after it.
    """

    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    planes: tuple[int, int, int, int] = (64, 128, 256, 512)
    depths: tuple[int, int, int, int] = (3, 4, 6, 3)
    stem_width: int = 64
    replaced: tuple[int, ...] = (2, 3, 4, 5)
    alternate: tuple[int, ...] = ()
    deep: bool = False
    pooling: Pooling = "average"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_four("widths", "planes", "depths")
        for name in ("widths", "planes", "depths"):
            require(all(n >= 1 for n in getattr(self, name)), f"{name} >= 1", getattr(self, name), REMEDY)
        for name in ("replaced", "alternate"):
            stages = getattr(self, name)
            object.__setattr__(self, name, stages if isinstance(stages, tuple) else (stages,))  # [replaced=5]
            require(all(n in (2, 3, 4, 5) for n in getattr(self, name)), f"{name} stages from 2 to 5", stages, REMEDY)
        require(self.pooling in ("average", "blur"), "pooling average or blur", self.pooling, REMEDY)

    @property
    def dims(self) -> tuple[int, ...]:
        """Channels of each stage's map."""
        return tuple(EXPANSION * plane for plane in self.planes)

    def holds_mixer(self, stage: int, block: int) -> bool:
        """Whether a block holds the mixer; stage and block count from 0."""
        return stage + 2 in self.replaced or (stage + 2 in self.alternate and block % 2 == 0)

    def stride(self, stage: int) -> int:
        """Stride of a stage's first block."""
        return 2 if stage or self.deep else 1

    def stem_maps(self, height: int, width: int) -> list[tuple[int, int]]:
        """(H, W) after the stem's convolutions, and (H, W) of the first stage's input."""
        first = (halved(height), halved(width))
        return [first, first if self.deep else (halved(first[0]), halved(first[1]))]

    def maps(self, height: int, width: int) -> list[tuple[int, int]]:
        """(H, W) of each stage's map for an image of height x width."""
        size, sizes = self.stem_maps(height, width)[-1], []
        for stage in range(4):
            size = (halved(size[0]), halved(size[1])) if self.stride(stage) == 2 else size
            sizes.append(size)
        return sizes


_NARROW, _WIDE = (64, 128, 256, 512), (96, 192, 384, 768)
NETWORKS: dict[str, CotNetConfig] = {
    "nano": CotNetConfig(
        widths=(16, 32, 64, 128), planes=(16, 32, 64, 128), depths=(1, 1, 1, 1), stem_width=16, img_size=(32, 32)
    ),
    "micro": CotNetConfig(widths=(32, 64, 128, 256), planes=(32, 64, 128, 256), depths=(2, 2, 2, 2), stem_width=32),
    "tiny": CotNetConfig(),
    "small": CotNetConfig(depths=(3, 4, 23, 3)),
    "base": CotNetConfig(depths=(3, 8, 36, 3)),
}
assert tuple(NETWORKS) == SCALES

_DEEP = CotNetConfig(deep=True, replaced=(5,), alternate=(4,), stem_width=32)
RELEASED: dict[str, tuple[str, CotNetConfig]] = {  # the authors' name -> (mixer, network)
    "cotnet50": ("cot", NETWORKS["tiny"]),
    "cotnext50_2x48d": ("coxt", dataclasses.replace(NETWORKS["tiny"], widths=_WIDE)),
    "cotnet101": ("cot", NETWORKS["small"]),
    "cotnext101_2x48d": ("coxt", dataclasses.replace(NETWORKS["small"], widths=_WIDE)),
    "se_cotnetd_50": ("cot", _DEEP),
    "se_cotnetd_101": ("cot", dataclasses.replace(_DEEP, depths=(3, 4, 23, 3), stem_width=64)),
    "se_cotnetd_152": ("cot", dataclasses.replace(_DEEP, depths=(3, 8, 36, 3), stem_width=64, pooling="blur")),
}
