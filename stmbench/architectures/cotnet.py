"""The cotnet architecture: a ResNet whose bottlenecks hold a mixer in place of their 3 x 3 convolution.

Li et al., "Contextual Transformer Networks for Visual Recognition", 2021, section 3.3: CoTNet, CoTNeXt and SE-CoTNetD,
which are also registered under the authors' names. A bottleneck is 1x1 convolution, mixer, 1x1 convolution, and the
shortcut (He et al., CVPR 2016); the stride is implemented as by Li et al. and, for the D form, as in He et al. 2019
("Bag of Tricks", ResNet-D). All maps are (B, H, W, C).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.architectures import timm_layers
from stmbench.architectures.backbone import Backbone, drop_path_rates
from stmbench.architectures.base import ARCHITECTURES, NAMED_MODELS, ArchitectureEntry, NamedModel, build_backbone
from stmbench.architectures.blocks import Stage
from stmbench.architectures.cotnet_config import EXPANSION, NETWORKS, RELEASED, CotNetConfig, Pooling
from stmbench.architectures.layers import (
    ChannelsLast,
    ChannelsLastBatchNorm,
    ChannelsLastConv,
    PoolingHead,
    halved,
    to_channels_last,
)
from stmbench.mixers.base import MIXERS, BlockPosition, Mixer, MixerEntry


class Convolution(ChannelsLastConv):
    """A convolution without bias: (B, H, W, C) -> (B, H/stride, W/stride, C')."""

    def __init__(self, in_dim: int, out_dim: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__(in_dim, out_dim, kernel, stride=stride, padding=kernel // 2, bias=False)


class PlainConv(nn.Module):
    """The spatial layer of a block without mixer: 3x3 convolution, BatchNorm, ReLU."""

    def __init__(self, dim: int, stride: int) -> None:
        super().__init__()
        self.conv, self.norm = Convolution(dim, dim, 3, stride), ChannelsLastBatchNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H/stride, W/stride, C)."""
        return F.relu(self.norm(self.conv(x)))

    def macs(self, height: int, width: int) -> int:
        """Multiply-adds for an output of height x width."""
        return height * width * self.conv.weight.numel()


class SplitAttentionConv(nn.Module):
    """ResNeSt's split-attention convolution of radix 1 (Zhang et al. 2020): a 3x3 convolution, then channel weights."""

    def __init__(self, dim: int, stride: int) -> None:
        super().__init__()
        hidden = max(dim // 4, 32)
        self.conv, self.norm = Convolution(dim, dim, 3, stride), ChannelsLastBatchNorm(dim)
        self.reduce, self.expand = nn.Conv2d(dim, hidden, 1), nn.Conv2d(hidden, dim, 1)
        self.hidden_norm = nn.BatchNorm2d(hidden)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H/stride, W/stride, C)."""
        x = F.silu(self.norm(self.conv(x))).permute(0, 3, 1, 2)
        pooled = x.mean((2, 3), keepdim=True)
        weights = self.expand(F.silu(self.hidden_norm(self.reduce(pooled)))).sigmoid()
        y: Tensor = (x * weights).permute(0, 2, 3, 1)
        return y

    def macs(self, height: int, width: int) -> int:
        """Multiply-adds for an output of height x width; the channel weights cost the same at any size."""
        return height * width * self.conv.weight.numel() + self.reduce.weight.numel() + self.expand.weight.numel()


class Bottleneck(nn.Module):
    """relu(shortcut(x) + conv1x1(mixer(relu(conv1x1(x))))): (B, H, W, C) -> (B, H/stride, W/stride, 4 planes).

    Without a mixer the block keeps a convolution (`deep`: a split-attention one). A stride is average pooling before
    the mixer, or the stride of the convolution; with `pooling` 'blur' it is a blur after either.
    """

    def __init__(
        self, in_dim: int, width: int, planes: int, mixer: nn.Module | None, *, stride: int, deep: bool,
        pooling: Pooling, drop_path: float,
    ) -> None:  # fmt: skip
        super().__init__()
        out_dim = EXPANSION * planes
        self.stride, self.blurs = stride, pooling == "blur"
        self.conv1, self.norm1 = Convolution(in_dim, width), ChannelsLastBatchNorm(width)
        spatial_stride, blur = 1 if self.blurs else stride, stride > 1 and self.blurs
        if mixer is None:
            convolution = SplitAttentionConv if deep else PlainConv
            self.spatial: nn.Module = convolution(width, spatial_stride)
        else:
            self.mixer = mixer
        average = spatial_stride > 1 and mixer is not None
        self.pool = ChannelsLast(nn.AvgPool2d(3, stride, padding=1)) if average else nn.Identity()
        self.blur = ChannelsLast(timm_layers.blur_pool(width, stride)) if blur else nn.Identity()
        self.conv3, self.norm3 = Convolution(width, out_dim), ChannelsLastBatchNorm(out_dim)
        self.shortcut = _shortcut(in_dim, out_dim, stride, deep=deep) if stride > 1 or in_dim != out_dim else None
        self.drop_path = timm_layers.drop_path(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H/stride, W/stride, 4 planes)."""
        y = self.pool(F.relu(self.norm1(self.conv1(x))))
        y = self.blur(self.mixer(y) if hasattr(self, "mixer") else self.spatial(y))
        y = self.drop_path(self.norm3(self.conv3(y)))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))

    def mixing_size(self, height: int, width: int) -> tuple[int, int]:
        """(H, W) of the mixer's map, for an input of height x width: a blur halves it only afterwards."""
        return (height, width) if self.stride == 1 or self.blurs else (halved(height), halved(width))

    def macs(self, height: int, width: int) -> dict[str, int]:
        """Multiply-adds besides the mixer's, by part of the network, for an input of height x width."""
        out = (halved(height), halved(width)) if self.stride > 1 else (height, width)
        mixing = self.mixing_size(height, width)
        points = height * width * self.conv1.weight.numel() + out[0] * out[1] * self.conv3.weight.numel()
        spatial: Any = getattr(self, "spatial", None)
        points += 0 if spatial is None else spatial.macs(*mixing)
        if self.stride > 1 and self.blurs:
            points += out[0] * out[1] * 9 * self.conv1.out_channels  # the blur is a depthwise 3x3 convolution
        macs = {"bottlenecks": points, "shortcuts": 0}
        for module in [] if self.shortcut is None else self.shortcut.modules():
            if isinstance(module, nn.Conv2d):
                macs["shortcuts"] = out[0] * out[1] * module.weight.numel()
        return macs


def _shortcut(in_dim: int, out_dim: int, stride: int, *, deep: bool) -> nn.Module:
    """1x1 convolution and BatchNorm; `deep` averages the positions that a stride would skip."""
    layers: list[nn.Module] = [Convolution(in_dim, out_dim, 1, 1 if deep else stride), ChannelsLastBatchNorm(out_dim)]
    if deep and stride > 1:
        layers.insert(0, ChannelsLast(nn.AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False)))
    return nn.Sequential(*layers)


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
                stage=index,
                block=number,
                dim=config.widths[index],
                resolution=maps[index + (not blurred)],
                index=sum(config.depths[:index]) + number,
                depth=sum(config.depths),
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
