"""The unified architecture of Hu et al., "Demystify Transformers & Convolutions in Modern Image Deep Networks".

Sections 4.1 and 4.2, Fig. 3: an overlapping stem, four stages of transformer blocks around one mixer, an overlapping
transition between stages, a LayerNorm after each stage, and a 1x1 convolution before pooling.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from stmbench.architectures.blocks import BlockConfig, ConvNextBlock, TransformerBlock
from stmbench.architectures.downsampling import NORM_EPS, Stem, Transition
from stmbench.architectures.head import Head
from stmbench.architectures.host import Host, drop_path_rates
from stmbench.architectures.stages import Stage
from stmbench.architectures.unified_config import UnifiedConfig
from stmbench.mixers.base import MixerEntry, Site

PARTS = {
    "stem": r"stem(\..*)?",
    "transitions": r"transitions(\..*)?",
    "mixers": r"stages\.\d+\.blocks\.\d+\.mixer(\..*)?",
    "mlps": r"stages\.\d+\.blocks\.\d+\.mlp(\..*)?",
    "norms": r"stages\.\d+\.(norm|blocks\.\d+\.(norm|branch)\d)(\..*)?",
    "head": r"head(\..*)?",
}


class Unified(Host):
    """Images (B, in_chans, H, W), H and W >= `smallest` -> logits (B, num_classes)."""

    parts = PARTS

    def __init__(self, mixer: MixerEntry, config: UnifiedConfig, **mixer_options: Any) -> None:
        super().__init__(config)
        self.stem = Stem(config.in_chans, config.dims[0])
        pairs = zip(config.dims, config.dims[1:], strict=False)
        self.transitions = nn.ModuleList(Transition(dim, wider) for dim, wider in pairs)
        self.stages = nn.ModuleList(self._stage(mixer, index, mixer_options) for index in range(4))
        after_pool = config.design in "BCE"
        self.head = Head(config.dims[-1], config.num_classes, norm_after_pool=after_pool, eps=NORM_EPS)
        self._complete(mixer.own_init)

    def _stage(self, mixer: MixerEntry, index: int, options: dict[str, Any]) -> Stage:
        config, dim = self.config, self.config.dims[index]
        resolution = config.maps(*config.img_size)[index]
        block_type = ConvNextBlock if config.design in "DE" else TransformerBlock
        blocks: list[nn.Module] = []
        for number, rate in enumerate(drop_path_rates(config.drop_path_rate, config.depths)[index]):
            site = Site(stage=index, block=number, dim=dim, resolution=resolution)
            self.sites.append(site)
            block_config = BlockConfig(
                dim=dim,
                mlp_ratio=config.mlp_ratios[index],
                norm_eps=config.norm_eps,
                drop_path=rate,
                scale=config.layer_scale,
            )
            blocks.append(block_type(mixer.build(site, **options), block_config))
        position = nn.init.trunc_normal_(torch.empty(1, *resolution, dim), std=0.02)
        norm = nn.Identity() if config.design in "CE" else nn.LayerNorm(dim, eps=NORM_EPS)
        return Stage(blocks, position if config.position_embedding[index] else None, norm)
