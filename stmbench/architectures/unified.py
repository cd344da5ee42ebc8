"""The unified architecture of Hu et al., "Demystify Transformers & Convolutions in Modern Image Deep Networks".

Sections 4.1 and 4.2, Fig. 3: an overlapping stem, four stages of transformer blocks around one mixer, an overlapping
transition between stages, a LayerNorm after each stage, and a 1x1 convolution before pooling. Each mixer's preset sets
widths and depths. The designs of Table VI:

A   the architecture of Fig. 3
B   A with a LayerNorm after global average pooling
C   B without the LayerNorms after the stages
D   A with ConvNeXt's block
E   C with ConvNeXt's block
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from torch import nn

from stmbench.architectures.backbone import Backbone, BackboneConfig
from stmbench.architectures.base import ARCHITECTURES, REMEDY, ArchitectureEntry, build_backbone
from stmbench.architectures.blocks import BlockConfig, ConvNextBlock, Stage, transformer_block
from stmbench.architectures.layers import NORM_EPS, ConvHead, Stem, Transition, halved, new_position
from stmbench.errors import require
from stmbench.mixers.base import MixerEntry, Preset

Design = Literal["A", "B", "C", "D", "E"]
DESIGNS = ("A", "B", "C", "D", "E")
PARTS = {
    "stem": r"stem(\..*)?",
    "transitions": r"transitions(\..*)?",
    "mixers": r"stages\.\d+\.blocks\.\d+\.mixer(\..*)?",
    "mlps": r"stages\.\d+\.blocks\.\d+\.mlp(\..*)?",
    "norms": r"stages\.\d+\.(norm|blocks\.\d+\.(norm|branch)\d)(\..*)?",
    "head": r"head(\..*)?",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class UnifiedConfig(BackboneConfig):
    """Options besides the mixer's. `layer_scale` is the first value of the residual branches' scales."""

    dims: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]
    mlp_ratios: tuple[float, float, float, float] = (4, 4, 4, 4)
    norm_eps: float = 1e-6
    position_embedding: tuple[bool, bool, bool, bool] = (False, False, False, False)
    design: Design = "A"
    layer_scale: float = 1e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_four("dims", "depths", "mlp_ratios", "position_embedding")
        require(all(d >= 2 and d % 2 == 0 for d in self.dims), "even dims >= 2", self.dims, REMEDY)
        require(all(d >= 1 for d in self.depths), "depths >= 1", self.depths, REMEDY)
        require(self.design in DESIGNS, f"a design ({', '.join(DESIGNS)})", self.design, REMEDY)

    @classmethod
    def of(cls, preset: Preset, **changes: Any) -> UnifiedConfig:
        """The config for a mixer's preset, with `changes`."""
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


class Unified(Backbone):
    """Images (B, in_chans, H, W), H and W >= `smallest` -> logits (B, num_classes)."""

    parts = PARTS

    def __init__(self, mixer: MixerEntry, config: UnifiedConfig, **mixer_options: Any) -> None:
        super().__init__(config)
        self.stem = Stem(config.in_chans, config.dims[0])
        pairs = zip(config.dims, config.dims[1:], strict=False)
        self.transitions = nn.ModuleList(Transition(dim, wider) for dim, wider in pairs)
        self.stages = nn.ModuleList(self._stage(mixer, index, mixer_options) for index in range(4))
        after_pool = config.design in "BCE"
        self.head = ConvHead(config.dims[-1], config.num_classes, norm_after_pool=after_pool, eps=NORM_EPS)
        self._finish(mixers_init_themselves=mixer.own_init)

    def _stage(self, mixer: MixerEntry, index: int, options: dict[str, Any]) -> Stage:
        config, dim = self.config, self.config.dims[index]
        make_block = ConvNextBlock if config.design in "DE" else transformer_block
        blocks: list[nn.Module] = []
        for module, rate in self._build_mixers(mixer, index, options):
            block_config = BlockConfig(
                dim=dim,
                mlp_ratio=config.mlp_ratios[index],
                norm_eps=config.norm_eps,
                drop_path=rate,
                scale=config.layer_scale,
            )
            blocks.append(make_block(module, block_config))
        # drawn even if unused, so that a seed gives the same weights with and without it
        position = new_position(config.maps(*config.img_size)[index], dim)
        norm = nn.Identity() if config.design in "CE" else nn.LayerNorm(dim, eps=NORM_EPS)
        return Stage(blocks, position if config.position_embedding[index] else None, norm)


def default_size(scale: str) -> int:
    """224 pixels, and 32 for nano models, whose windows and strides are made for small images."""
    return 32 if scale == "nano" else 224


def build_unified(mixer: MixerEntry, scale: str, *, layout: str = "matched", **options: Any) -> nn.Module:
    """A `Unified` model at a mixer's preset.

    Args:
        layout: `matched` is the preset; `authors` has the widths, depths and MLPs of the mixer's own network.

    Raises:
        ConfigError: an option that neither the architecture nor the mixer has, or a value that one of them refuses.
    """
    preset, side = mixer.preset(scale, layout), default_size(scale)
    config = UnifiedConfig.of(preset, img_size=(side, side))
    return build_backbone(Unified, config, mixer, architecture="unified", preset=preset.options, **options)


ARCHITECTURES.register(
    "unified",
    ArchitectureEntry(
        name="unified",
        title="Unified architecture",
        citation="Hu et al., Demystify Transformers & Convolutions in Modern Image Deep Networks",
        build=build_unified,
        default_size=default_size,
        mixers=("halo_attn", "sr_attn", "sw_attn", "dw_conv", "dcnv3"),
    ),
)
