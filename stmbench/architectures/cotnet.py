"""The cotnet architecture: a ResNet whose bottlenecks hold a mixer in place of their 3 x 3 convolution.

Li et al., "Contextual Transformer Networks for Visual Recognition", 2021, section 3.3: CoTNet, CoTNeXt and SE-CoTNetD,
which are also registered under the authors' names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.architectures.backbone import Backbone, drop_path_rates
from stmbench.architectures.base import ARCHITECTURES, NAMED_MODELS, ArchitectureEntry, NamedModel
from stmbench.architectures.blocks import Stage
from stmbench.architectures.bottleneck import Bottleneck, Convolution
from stmbench.architectures.cotnet_config import NETWORKS, RELEASED, CotNetConfig
from stmbench.architectures.layers import ChannelsLastBatchNorm, PoolingHead, to_channels_last
from stmbench.architectures.model_factory import build_backbone
from stmbench.mixers.base import MIXERS, BlockPosition, Mixer, MixerEntry

CITATION = "Li et al., Contextual Transformer Networks for Visual Recognition, 2021"
TABLE_5 = ("conv3", "cot_static", "cot_dynamic", "cot_linear_fusion", "cot", "coxt")
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
        x = to_channels_last(image)
        if self.deep:
            x = F.relu(self.norm1(self.conv1(x)))
            x = F.relu(self.norm2(self.conv2(x)))
            return F.relu(self.norm(self.conv3(x)))
        x = F.relu(self.norm(self.conv1(x)))
        return F.max_pool2d(x.permute(0, 3, 1, 2), 3, 2, 1).permute(0, 2, 3, 1)

    def macs_per_position(self) -> int:
        """Multiply-adds per position of its convolutions, all of which have outputs of one size."""
        return sum(module.weight.numel() for module in self.modules() if isinstance(module, nn.Conv2d))


class CotNet(Backbone):
    """Images (B, in_chans, H, W), H and W >= `smallest` -> logits (B, num_classes)."""

    parts = PARTS

    def __init__(self, mixer: MixerEntry, config: CotNetConfig, **mixer_options: Any) -> None:
        super().__init__(config)
        self.stem = ImageStem(config)
        self.transitions = nn.ModuleList()
        self.stages = nn.ModuleList(self._stage(mixer, index, mixer_options) for index in range(4))
        self.head = PoolingHead(config.dims[-1], config.num_classes)
        self._finish(mixers_init_themselves=mixer.own_init)

    def _stage(self, mixer: MixerEntry, index: int, options: dict[str, Any]) -> Stage:
        config = self.config
        before = cast(ImageStem, self.stem).width if index == 0 else config.dims[index - 1]
        maps = [config.stem_maps(*config.img_size)[-1], *config.maps(*config.img_size)]
        blocks: list[nn.Module] = []
        for number, rate in enumerate(drop_path_rates(config.drop_path_rate, config.depths)[index]):
            stride = config.stride(index) if number == 0 else 1
            blurred = stride > 1 and config.pooling == "blur"
            position = BlockPosition(
                stage=index, block=number, dim=config.widths[index], resolution=maps[index + (not blurred)]
            )
            has_mixer = config.holds_mixer(index, number)
            if has_mixer:
                self.mixer_positions.append(position)
            blocks.append(
                Bottleneck(
                    before if number == 0 else config.dims[index],
                    config.widths[index],
                    config.planes[index],
                    mixer.build(position, **options) if has_mixer else None,
                    stride=stride,
                    deep=config.deep,
                    pooling=config.pooling,
                    drop_path=rate,
                )
            )
        return Stage(blocks, None, nn.Identity())

    def _init(self, module: nn.Linear | nn.Conv2d) -> None:
        """Convolutions from He et al.'s normal distribution, as in ResNets."""
        if isinstance(module, nn.Linear):
            super()._init(module)
            return
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)

    def macs(self, height: int, width: int) -> dict[str, int]:
        """Multiply-adds for one image, by part, from formulas. Raises TypeError if the mixer has no formula."""
        counts = dict.fromkeys(self.parts, 0)
        first, size = self.config.stem_maps(height, width)
        counts["stem"] = first[0] * first[1] * cast(ImageStem, self.stem).macs_per_position()
        for stage, after in zip(self.stages, self.config.maps(height, width), strict=True):
            for block in cast("list[Bottleneck]", list(cast(Any, stage).blocks)):
                for part, number in block.macs(*size).items():
                    counts[part] += number
                if hasattr(block, "mixer"):
                    counts["mixers"] += cast(Mixer, block.mixer).macs(*block.mixing_size(*size))
                size = after
        counts["head"] = cast(PoolingHead, self.head).macs(*size)
        return counts


def build_cotnet(mixer: MixerEntry, scale: str, **options: Any) -> nn.Module:
    """A `CotNet` model. Raises ConfigError for an option that neither it nor the mixer has, or a bad value."""
    preset = mixer.preset(scale).options
    return build_backbone(CotNet, NETWORKS[scale], mixer, architecture="cotnet", preset=preset, **options)


def _released(name: str) -> Callable[..., nn.Module]:
    mixer, network = RELEASED[name]

    def build(**options: Any) -> nn.Module:
        return build_backbone(CotNet, network, MIXERS.get(mixer), architecture="cotnet", preset={}, **options)

    return build


ARCHITECTURES.register(
    "cotnet",
    ArchitectureEntry(
        name="cotnet",
        title="CoTNet architecture (ResNet)",
        citation=CITATION,
        build=build_cotnet,
        default_size=lambda scale: NETWORKS[scale].img_size[0],
        mixers=TABLE_5,
    ),
)
for _name, (_mixer, _) in RELEASED.items():
    NAMED_MODELS.register(_name, NamedModel(name=_name, architecture="cotnet", mixer=_mixer, build=_released(_name)))
