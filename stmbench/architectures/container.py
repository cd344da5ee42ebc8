"""The container architecture, and the authors' released container_v1_light.

Gao et al., "Container: Context Aggregation Network", NeurIPS 2021, section 3.4, in the form of the released model:

    x = x + dw3x3(x);   x = x + drop_path(mixer(BN(x)));   x = x + drop_path(mlp(BN(x)))

Each stage begins with a patch embedding and a LayerNorm; a BatchNorm and global average pooling follow the last stage.
The paper prints depths 2, 3, 8, 3, dims 128, 256, 320, 512 and one MLP ratio; its Table 2 was counted on the released
model: depths 3, 4, 8, 3, dims 64, 128, 320, 512, MLP ratios 8, 8, 4, 4. `tiny` is the released network; the other
scales are ours.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import Tensor, nn

from stmbench.architectures.backbone import Backbone, BackboneConfig
from stmbench.architectures.base import (
    ARCHITECTURES,
    NAMED_MODELS,
    REMEDY,
    ArchitectureEntry,
    NamedModel,
    build_backbone,
)
from stmbench.architectures.blocks import BlockConfig, Branch, Stage, residual_mlp
from stmbench.architectures.layers import (
    ChannelsLastBatchNorm,
    ChannelsLastConv,
    ImageEmbedding,
    Mlp,
    PatchEmbedding,
    PoolingHead,
)
from stmbench.errors import require
from stmbench.mixers.base import MIXERS, SCALES, MixerEntry

CITATION = "Gao et al., Container: Context Aggregation Network, NeurIPS 2021"
PATCHES = (4, 2, 2, 2)  # sides of the four embeddings' patches, as released (section 3.4 says 4, 4, 2, 2)
NORM_EPS = 1e-5  # of every norm, as released
RELEASED = {"heads": 16, "kernel": 5, "gate": "sigmoid", "light": True}  # the mixer's options in the released model
# the mixers of the paper's Table 2
TABLE_2 = ("self_attn", "conv3", "group_conv3", "dw_conv3", "mh_dw_conv", "mlp", "mlp_lr", "mh_mlp_lr", "container")
_BLOCK = r"stages\.\d+\.blocks\.\d+\."
PARTS = {
    "stem": r"stem(\..*)?",
    "transitions": r"transitions(\..*)?",
    "positions": _BLOCK + "position",
    "mixers": _BLOCK + r"mixer(\..*)?",
    "mlps": _BLOCK + r"mlp(\..*)?",
    "norms": rf"stages\.\d+\.norm|{_BLOCK}(norm|branch)\d(\..*)?",
    "head": r"head(\..*)?",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContainerNetConfig(BackboneConfig):
    """Options besides the mixer's: channels, blocks and MLP ratio of each stage."""

    dims: tuple[int, int, int, int] = (64, 128, 320, 512)
    depths: tuple[int, int, int, int] = (3, 4, 8, 3)
    mlp_ratios: tuple[float, float, float, float] = (8, 8, 4, 4)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_four("dims", "depths", "mlp_ratios")
        require(all(d >= 1 for d in self.dims), "dims >= 1", self.dims, REMEDY)
        require(all(d >= 1 for d in self.depths), "depths >= 1", self.depths, REMEDY)

    def maps(self, height: int, width: int) -> list[tuple[int, int]]:
        """(H, W) of each stage's map for an image of height x width; incomplete patches are dropped."""
        sizes = []
        for side in PATCHES:
            height, width = height // side, width // side
            sizes.append((height, width))
        return sizes


NETWORKS: dict[str, ContainerNetConfig] = {
    "nano": ContainerNetConfig(dims=(16, 32, 64, 128), depths=(2, 2, 2, 2), mlp_ratios=(4, 4, 4, 4), img_size=(32, 32)),
    "micro": ContainerNetConfig(dims=(32, 64, 160, 256), depths=(2, 2, 4, 2)),
    "tiny": ContainerNetConfig(drop_path_rate=0.1),
    "small": ContainerNetConfig(depths=(3, 4, 18, 3), drop_path_rate=0.2),
    "base": ContainerNetConfig(dims=(96, 192, 480, 768), depths=(3, 4, 18, 3), drop_path_rate=0.3),
}
assert tuple(NETWORKS) == SCALES


class ContainerBlock(nn.Module):
    """A depthwise position embedding, the mixer and the MLP, each with a residual. (B, H, W, C) -> (B, H, W, C)."""

    def __init__(self, mixer: nn.Module, config: BlockConfig) -> None:
        super().__init__()
        config.require_mlp()
        dim = config.dim
        self.position = ChannelsLastConv(dim, dim, 3, padding=1, groups=dim)
        self.norm1 = ChannelsLastBatchNorm(dim, eps=config.norm_eps)
        self.mixer = mixer
        self.branch1 = Branch(config)
        self.norm2 = ChannelsLastBatchNorm(dim, eps=config.norm_eps)
        self.mlp = Mlp(dim, config.hidden)
        self.branch2 = Branch(config)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        x = x + self.position(x)
        x = self.branch1(x, self.mixer(self.norm1(x)))
        return residual_mlp(x, self.norm2(x), None, self.mlp, self.branch2)

    def macs(self, height: int, width: int) -> dict[str, int]:
        """Multiply-adds besides the mixer's, by part of the network."""
        positions = height * width * self.position.weight.numel()
        return {"mlps": self.mlp.macs(height, width), "positions": positions}


class ContainerNet(Backbone):
    """Images (B, in_chans, H, W), H and W >= `smallest` -> logits (B, num_classes)."""

    parts = PARTS

    def __init__(self, mixer: MixerEntry, config: ContainerNetConfig, **mixer_options: Any) -> None:
        super().__init__(config)
        dims = config.dims
        self.stem = ImageEmbedding(config.in_chans, dims[0], PATCHES[0], norm_eps=NORM_EPS)
        pairs = zip(dims, dims[1:], PATCHES[1:], strict=False)
        self.transitions = nn.ModuleList(PatchEmbedding(*pair, norm_eps=NORM_EPS) for pair in pairs)
        self.stages = nn.ModuleList(self._stage(mixer, index, mixer_options) for index in range(4))
        self.head = PoolingHead(dims[-1], config.num_classes)
        self._finish(mixers_init_themselves=mixer.own_init)

    def _stage(self, mixer: MixerEntry, index: int, options: dict[str, Any]) -> Stage:
        config, dim = self.config, self.config.dims[index]
        blocks: list[nn.Module] = []
        for module, rate in self._build_mixers(mixer, index, options):
            block = BlockConfig(
                dim=dim, mlp_ratio=config.mlp_ratios[index], norm_eps=NORM_EPS, drop_path=rate, scale=None
            )
            blocks.append(ContainerBlock(module, block))
        return Stage(blocks, None, ChannelsLastBatchNorm(dim, eps=NORM_EPS) if index == 3 else nn.Identity())


def build_container(mixer: MixerEntry, scale: str, **options: Any) -> nn.Module:
    """A `ContainerNet`. Raises ConfigError for an option that neither it nor the mixer has, or a bad value."""
    preset = mixer.preset(scale).options
    return build_backbone(ContainerNet, NETWORKS[scale], mixer, architecture="container", preset=preset, **options)


def build_container_v1_light(**options: Any) -> nn.Module:
    """The authors' model, 20.633643 M parameters: CONTAINER-LIGHT with 16 heads and tied alpha and beta."""
    container = MIXERS.get("container")
    return build_backbone(
        ContainerNet, NETWORKS["tiny"], container, architecture="container", preset=RELEASED, **options
    )


ARCHITECTURES.register(
    "container",
    ArchitectureEntry(
        name="container",
        title="CONTAINER architecture",
        citation=CITATION,
        build=build_container,
        default_size=lambda scale: NETWORKS[scale].img_size[0],
        mixers=TABLE_2,
    ),
)
NAMED_MODELS.register(
    "container_v1_light",
    NamedModel(name="container_v1_light", architecture="container", mixer="container", build=build_container_v1_light),
)
