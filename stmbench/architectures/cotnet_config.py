"""What the cotnet host takes besides the mixer, and its networks at each scale and of the authors' names.

Li et al., "Contextual Transformer Networks for Visual Recognition", 2021, section 3.3, Tables 1 and 2: ResNets whose
3 x 3 convolutions are replaced. `tiny`, `small` and `base` have the depths of 50, 101 and 152 layers; `micro` and
`nano` are ours.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from stmbench.architectures.downsampling import halved
from stmbench.architectures.host_config import REMEDY, HostConfig
from stmbench.errors import require
from stmbench.mixers.base import SCALES

EXPANSION = 4  # of a bottleneck's width, after it
Pooling = Literal["average", "blur"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CotNetConfig(HostConfig):
    """What the host takes besides the mixer.

    `widths` are those of the bottlenecks, whose 3 x 3 convolution is replaced in the blocks of the stages `replaced`
    (numbers from 2, as the papers count res2 to res5), of `alternate` in every other block. `dims` are those of the
    stages' maps. `deep` is SE-CoTNetD's form: a stem of three 3 x 3 convolutions without pooling, average pooling in
    the shortcuts, split-attention convolutions where nothing is replaced, and stride 2 in every stage. `pooling` is how
    a block halves the map: an average before the mixer, or a blur after it.
    """

    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    planes: tuple[int, int, int, int] = (64, 128, 256, 512)  # a quarter of a stage's channels
    depths: tuple[int, int, int, int] = (3, 4, 6, 3)
    stem_width: int = 64
    replaced: tuple[int, ...] = (2, 3, 4, 5)
    alternate: tuple[int, ...] = ()
    deep: bool = False
    pooling: Pooling = "average"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("widths", "planes", "depths"):
            require(len(getattr(self, name)) == 4, f"four {name}, one for each stage", getattr(self, name), REMEDY)
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
        """Whether a block's convolution is replaced; both count from 0."""
        return stage + 2 in self.replaced or (stage + 2 in self.alternate and block % 2 == 0)

    def strides(self, stage: int) -> int:
        """Of a stage's first block."""
        return 2 if stage or self.deep else 1

    def stem_maps(self, height: int, width: int) -> list[tuple[int, int]]:
        """(H, W) after the stem's convolutions, and what the first stage gets."""
        first = (halved(height), halved(width))
        return [first, first if self.deep else (halved(first[0]), halved(first[1]))]

    def maps(self, height: int, width: int) -> list[tuple[int, int]]:
        """(H, W) of each stage's map for an image of height x width."""
        size, sizes = self.stem_maps(height, width)[-1], []
        for stage in range(4):
            size = (halved(size[0]), halved(size[1])) if self.strides(stage) == 2 else size
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
