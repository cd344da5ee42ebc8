"""What the unified architecture takes besides the mixer: widths, depths, and the designs of Hu et al., Table VI.

A   the architecture of Fig. 3: transformer blocks, a LayerNorm after each stage, a 1x1 convolution before pooling
B   A with a LayerNorm after global average pooling
C   B without the LayerNorms after the stages
D   A with ConvNeXt's block
E   C with ConvNeXt's block
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from stmbench.architectures.downsampling import halved
from stmbench.architectures.host_config import REMEDY, HostConfig
from stmbench.errors import require
from stmbench.mixers.base import Preset

Design = Literal["A", "B", "C", "D", "E"]
DESIGNS = ("A", "B", "C", "D", "E")


@dataclasses.dataclass(frozen=True, kw_only=True)
class UnifiedConfig(HostConfig):
    """What the architecture takes besides the mixer."""

    dims: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]
    mlp_ratios: tuple[float, float, float, float] = (4, 4, 4, 4)
    norm_eps: float = 1e-6
    position_embedding: tuple[bool, bool, bool, bool] = (False, False, False, False)
    design: Design = "A"
    layer_scale: float = 1e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("dims", "depths", "mlp_ratios", "position_embedding"):
            require(len(getattr(self, name)) == 4, f"four {name}, one for each stage", getattr(self, name), REMEDY)
        require(all(d >= 2 and d % 2 == 0 for d in self.dims), "even dims >= 2", self.dims, REMEDY)
        require(all(d >= 1 for d in self.depths), "depths >= 1", self.depths, REMEDY)
        require(self.design in DESIGNS, f"a design ({', '.join(DESIGNS)})", self.design, REMEDY)

    @classmethod
    def of(cls, preset: Preset, **changes: Any) -> UnifiedConfig:
        """The config of a mixer's preset, with `changes`."""
        fields = {
            "dims": preset.dims,
            "depths": preset.depths,
            "mlp_ratios": preset.mlp_ratios,
            "norm_eps": preset.norm_eps,
            "drop_path_rate": preset.drop_path,
            "position_embedding": preset.position_embedding,
        }
        return cls(**{**fields, **changes})

    def maps(self, height: int, width: int) -> list[tuple[int, int]]:
        """(H, W) of each stage's map for an image of height x width."""
        sizes, size = [], (halved(height), halved(width))
        for _ in self.dims:
            size = (halved(size[0]), halved(size[1]))
            sizes.append(size)
        return sizes
