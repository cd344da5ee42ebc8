"""The isotropic architecture: DeiT's shape, with one width and one resolution throughout.

Touvron et al., ICML 2021, Table 1, without the class token: a 16 x 16 patch embedding, a learned position embedding,
blocks x + mixer(LN(x)), x + mlp(LN(x)) without layer scale, a LayerNorm and global average pooling. Gao et al., section
4.1 and Fig. 1, put CONTAINER-PAM into it. The maps after each quarter of the blocks are the model's four stages.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from torch import nn

from stmbench.architectures.backbone import LARGEST_STRIDE, Backbone, BackboneConfig
from stmbench.architectures.base import ARCHITECTURES, REMEDY, ArchitectureEntry, build_backbone
from stmbench.architectures.blocks import BlockConfig, Stage, transformer_block
from stmbench.architectures.layers import ImageEmbedding, PoolingHead, new_position
from stmbench.errors import require
from stmbench.mixers.base import MixerEntry

NORM_EPS = 1e-6
_BLOCK = r"stages\.\d+\.blocks\.\d+\."


@dataclasses.dataclass(frozen=True, kw_only=True)
class IsotropicConfig(BackboneConfig):
    """`dim` channels in every block, `depth` blocks (a multiple of four), patches of `patch` x `patch` pixels."""

    dim: int
    depth: int = 12
    patch: int = 16
    mlp_ratio: float = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.dim >= 1, "dim >= 1", self.dim, REMEDY)
        require(self.depth >= 4 and self.depth % 4 == 0, "a depth that is a multiple of four", self.depth, REMEDY)
        require(1 <= self.patch <= LARGEST_STRIDE, f"a patch of 1 to {LARGEST_STRIDE} pixels", self.patch, REMEDY)

    @property
    def dims(self) -> tuple[int, int, int, int]:
        """Channels of each quarter's map."""
        return (self.dim,) * 4

    @property
    def depths(self) -> tuple[int, int, int, int]:
        """Blocks of each quarter."""
        return (self.depth // 4,) * 4

    def maps(self, height: int, width: int) -> list[tuple[int, int]]:
        """(H, W) of each quarter's map for an image of height x width."""
        return [(height // self.patch, width // self.patch)] * 4


NETWORKS = {
    "nano": IsotropicConfig(dim=64, depth=4, patch=4, img_size=(32, 32)),
    "micro": IsotropicConfig(dim=192),  # DeiT-Ti
    "tiny": IsotropicConfig(dim=384, drop_path_rate=0.1),  # DeiT-S
    "small": IsotropicConfig(dim=576, drop_path_rate=0.1),
    "base": IsotropicConfig(dim=768, drop_path_rate=0.1),  # DeiT-B
}


class Isotropic(Backbone):
    """Images (B, in_chans, H, W), H and W >= the patch -> logits (B, num_classes)."""

    parts: ClassVar = {
        "stem": r"stem(\..*)?",
        "mixers": _BLOCK + r"mixer(\..*)?",
        "mlps": _BLOCK + r"mlp(\..*)?",
        "norms": rf"stages\.\d+\.norm|{_BLOCK}(norm|branch)\d(\..*)?",
        "head": r"head(\..*)?",
    }

    def __init__(self, mixer: MixerEntry, config: IsotropicConfig, **mixer_options: Any) -> None:
        super().__init__(config)
        self.reductions = (config.patch,) * 4
        self.stem = ImageEmbedding(config.in_chans, config.dim, config.patch, norm_eps=None)
        self.transitions = nn.ModuleList()
        self.stages = nn.ModuleList(self._stage(mixer, index, mixer_options) for index in range(4))
        self.head = PoolingHead(config.dim, config.num_classes)
        self._finish(mixers_init_themselves=mixer.own_init)

    def _stage(self, mixer: MixerEntry, index: int, options: dict[str, Any]) -> Stage:
        dim = self.config.dim
        block = BlockConfig(dim=dim, mlp_ratio=self.config.mlp_ratio, norm_eps=NORM_EPS, drop_path=0.0, scale=None)
        own = self._build_mixers(mixer, index, options)
        blocks: list[nn.Module] = [transformer_block(one, dataclasses.replace(block, drop_path=p)) for one, p in own]
        position = new_position(self.config.maps(*self.config.img_size)[0], dim) if index == 0 else None
        return Stage(blocks, position, nn.LayerNorm(dim, eps=NORM_EPS) if index == 3 else nn.Identity())


def build_isotropic(mixer: MixerEntry, scale: str, **options: Any) -> nn.Module:
    """An `Isotropic` model. Raises ConfigError for an option that neither it nor the mixer has, or a bad value."""
    own = mixer.preset(scale).options
    return build_backbone(Isotropic, NETWORKS[scale], mixer, architecture="isotropic", preset=own, **options)


ARCHITECTURES.register(
    "isotropic",
    ArchitectureEntry(
        name="isotropic",
        title="Isotropic architecture (DeiT)",
        citation="Touvron et al., ICML 2021; Gao et al., NeurIPS 2021, section 4.1",
        build=build_isotropic,
        default_size=lambda scale: NETWORKS[scale].img_size[0],
        mixers=("self_attn", "container_pam"),
    ),
)
