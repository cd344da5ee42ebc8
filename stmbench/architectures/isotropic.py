"""The isotropic architecture: one width and one resolution throughout, in DeiT's shape.

Touvron et al., "Training data-efficient image transformers", ICML 2021, Table 1, without the class token: a 16 x 16
patch embedding, a learned position embedding, blocks x + mixer(LN(x)), x + mlp(LN(x)) without layer scale, a
LayerNorm and a global average. Gao et al., "Container", section 4.1 and Fig. 1, put CONTAINER-PAM into it. The blocks
are counted in four quarters, so that the maps after each are the model's four stages.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import nn

from stmbench.architectures.blocks import BlockConfig, TransformerBlock
from stmbench.architectures.host import Host, drop_path_rates
from stmbench.architectures.host_config import LARGEST_STRIDE, REMEDY, HostConfig
from stmbench.architectures.patches import ImageEmbedding, PoolingHead
from stmbench.architectures.stages import Stage
from stmbench.errors import require
from stmbench.mixers.base import MixerEntry, Site

NORM_EPS = 1e-6
_BLOCK = r"stages\.\d+\.blocks\.\d+\."
PARTS = {
    "stem": r"stem(\..*)?",
    "mixers": _BLOCK + r"mixer(\..*)?",
    "mlps": _BLOCK + r"mlp(\..*)?",
    "norms": rf"stages\.\d+\.norm|{_BLOCK}(norm|branch)\d(\..*)?",
    "head": r"head(\..*)?",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class IsotropicConfig(HostConfig):
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


class Isotropic(Host):
    """Images (B, in_chans, H, W), H and W >= the patch -> logits (B, num_classes)."""

    parts = PARTS

    def __init__(self, mixer: MixerEntry, config: IsotropicConfig, **mixer_options: Any) -> None:
        super().__init__(config)
        self.reductions = (config.patch,) * 4
        self.stem = ImageEmbedding(config.in_chans, config.dim, config.patch, norm_eps=None)
        self.transitions = nn.ModuleList()
        self.stages = nn.ModuleList(self._stage(mixer, index, mixer_options) for index in range(4))
        self.head = PoolingHead(config.dim, config.num_classes)
        self._complete(mixer.own_init)

    def _stage(self, mixer: MixerEntry, index: int, options: dict[str, Any]) -> Stage:
        config = self.config
        resolution = config.maps(*config.img_size)[index]
        blocks: list[nn.Module] = []
        for number, rate in enumerate(drop_path_rates(config.drop_path_rate, config.depths)[index]):
            site = Site(stage=index, block=number, dim=config.dim, resolution=resolution)
            self.sites.append(site)
            block = BlockConfig(
                dim=config.dim, mlp_ratio=config.mlp_ratio, norm_eps=NORM_EPS, drop_path=rate, scale=None
            )
            blocks.append(TransformerBlock(mixer.build(site, **options), block))
        position = nn.init.trunc_normal_(torch.empty(1, *resolution, config.dim), std=0.02) if index == 0 else None
        return Stage(blocks, position, nn.LayerNorm(config.dim, eps=NORM_EPS) if index == 3 else nn.Identity())
