"""The cotnet architecture: a ResNet whose bottlenecks hold a mixer in place of their 3 x 3 convolution.

Li et al., "Contextual Transformer Networks for Visual Recognition", 2021, section 3.3: CoTNet, CoTNeXt and SE-CoTNetD.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.architectures.bottleneck import Bottleneck, Convolution
from stmbench.architectures.cotnet_config import CotNetConfig
from stmbench.architectures.host import Host, drop_path_rates
from stmbench.architectures.patches import PoolingHead
from stmbench.architectures.stages import ChannelsLastBatchNorm, Stage
from stmbench.mixers.base import Mixer, MixerEntry, Site

_BLOCK = r"stages\.\d+\.blocks\.\d+\."
PARTS = {
    "stem": r"stem(\..*)?",
    "mixers": _BLOCK + r"mixer(\..*)?",
    "bottlenecks": _BLOCK + r"(conv\d|(spatial|blur)(\..*)?)",
    "shortcuts": _BLOCK + r"shortcut(\..*)?",
    "norms": _BLOCK + r"norm\d",
    "head": r"head(\..*)?",
}


class ImageStem(nn.Module):
    """7x7 convolution of stride 2 and max pooling, or (`deep`) three 3x3 ones: (B, C, H, W) -> (B, H', W', C')."""

    def __init__(self, config: CotNetConfig) -> None:
        super().__init__()
        self.deep = config.deep
        width, chans = config.stem_width, config.in_chans
        if self.deep:
            self.width = 2 * width
            self.conv1, self.norm1 = Convolution(chans, width, 3, 2), ChannelsLastBatchNorm(width)
            self.conv2, self.norm2 = Convolution(width, width, 3), ChannelsLastBatchNorm(width)
            self.conv3, self.norm = Convolution(width, 2 * width, 3), ChannelsLastBatchNorm(2 * width)
        else:
            self.width = width
            self.conv1, self.norm = Convolution(chans, width, 7, 2), ChannelsLastBatchNorm(width)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, H', W', C')."""
        # the one copy of a forward pass: from here on everything is channels last
        x = image.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)
        if self.deep:
            x = F.relu(self.norm1(self.conv1(x)))
            x = F.relu(self.norm2(self.conv2(x)))
            return F.relu(self.norm(self.conv3(x)))
        x = F.relu(self.norm(self.conv1(x)))
        return F.max_pool2d(x.permute(0, 3, 1, 2), 3, 2, 1).permute(0, 2, 3, 1)

    def weights(self) -> int:
        """Of its convolutions, all of which give maps of one size."""
        return sum(module.weight.numel() for module in self.modules() if isinstance(module, nn.Conv2d))


class CotNet(Host):
    """Images (B, in_chans, H, W), H and W >= `smallest` -> logits (B, num_classes)."""

    parts = PARTS

    def __init__(self, mixer: MixerEntry, config: CotNetConfig, **mixer_options: Any) -> None:
        super().__init__(config)
        self.stem = ImageStem(config)
        self.transitions = nn.ModuleList()
        self.stages = nn.ModuleList(self._stage(mixer, index, mixer_options) for index in range(4))
        self.head = PoolingHead(config.dims[-1], config.num_classes)
        self._complete(mixer.own_init)

    def _stage(self, mixer: MixerEntry, index: int, options: dict[str, Any]) -> Stage:
        config = self.config
        before = cast(ImageStem, self.stem).width if index == 0 else config.dims[index - 1]
        maps = [config.stem_maps(*config.img_size)[-1], *config.maps(*config.img_size)]
        blocks: list[nn.Module] = []
        for number, rate in enumerate(drop_path_rates(config.drop_path_rate, config.depths)[index]):
            stride = config.strides(index) if number == 0 else 1
            blurred = stride > 1 and config.pooling == "blur"
            site = Site(stage=index, block=number, dim=config.widths[index], resolution=maps[index + (not blurred)])
            held = config.holds_mixer(index, number)
            if held:
                self.sites.append(site)
            blocks.append(
                Bottleneck(
                    before if number == 0 else config.dims[index],
                    config.widths[index],
                    config.planes[index],
                    mixer.build(site, **options) if held else None,
                    stride=stride,
                    deep=config.deep,
                    pooling=config.pooling,
                    drop_path=rate,
                )
            )
        return Stage(blocks, None, nn.Identity())

    def _init(self, module: nn.Linear | nn.Conv2d) -> None:
        """He et al.'s normal for convolutions, as ResNets have it."""
        if isinstance(module, nn.Linear):
            super()._init(module)
            return
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)

    def macs(self, height: int, width: int) -> dict[str, int]:
        """Multiply-adds for one image by part, by formula. Raises TypeError where the mixer has no formula."""
        counts = dict.fromkeys(self.parts, 0)
        first, size = self.config.stem_maps(height, width)
        counts["stem"] = first[0] * first[1] * cast(ImageStem, self.stem).weights()
        for stage, after in zip(self.stages, self.config.maps(height, width), strict=True):
            for block in cast("list[Bottleneck]", list(cast(Any, stage).blocks)):
                for part, number in block.macs_of(*size).items():
                    counts[part] += number
                if hasattr(block, "mixer"):
                    counts["mixers"] += cast(Mixer, block.mixer).macs(*block.mixing_size(*size))
                size = after
        counts["head"] = cast(PoolingHead, self.head).macs(*size)
        return counts
