"""The container architecture: patch embeddings, and blocks with a depthwise position embedding and BatchNorm.

Gao et al., "Container", NeurIPS 2021, section 3.4, in the form of the authors' released model (container_v1_light):

    x = x + dw3x3(x);   x = x + drop_path(mixer(BN(x)));   x = x + drop_path(mlp(BN(x)))

Each stage begins with a patch embedding and a LayerNorm; a BatchNorm follows the last stage, then a global average.
"""

from __future__ import annotations

from typing import Any

from timm.layers.mlp import Mlp
from torch import Tensor, nn

from stmbench.architectures.blocks import BlockConfig, Branch, mlp_macs
from stmbench.architectures.container_config import PATCHES, ContainerNetConfig
from stmbench.architectures.host import Host, drop_path_rates
from stmbench.architectures.patches import ImageEmbedding, PatchEmbedding, PoolingHead
from stmbench.architectures.stages import ChannelsLastBatchNorm, Stage
from stmbench.mixers.base import MixerEntry, Site

NORM_EPS = 1e-5  # of every norm, as released
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


class DepthwiseConv(nn.Conv2d):
    """3 x 3 depthwise convolution of a map (B, H, W, C) -> (B, H, W, C)."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        y: Tensor = super().forward(x.permute(0, 3, 1, 2))
        return y.permute(0, 2, 3, 1)


class ContainerBlock(nn.Module):
    """A depthwise position embedding, the mixer and the MLP, each in a residual. (B, H, W, C) -> (B, H, W, C)."""

    def __init__(self, mixer: nn.Module, config: BlockConfig) -> None:
        super().__init__()
        self.position = DepthwiseConv(config.dim)
        self.norm1 = ChannelsLastBatchNorm(config.dim, eps=config.norm_eps)
        self.mixer = mixer
        self.branch1 = Branch(config)
        self.norm2 = ChannelsLastBatchNorm(config.dim, eps=config.norm_eps)
        self.mlp = Mlp(config.dim, int(config.dim * config.mlp_ratio))
        self.branch2 = Branch(config)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        x = x + self.position(x)
        x = self.branch1(x, self.mixer(self.norm1(x)))
        y: Tensor = self.branch2(x, self.mlp(self.norm2(x)))
        return y

    def macs(self, height: int, width: int) -> dict[str, int]:
        """Multiply-adds besides the mixer's, by part."""
        positions = height * width * self.position.weight.numel()
        return {"mlps": mlp_macs(self.mlp, height, width), "positions": positions}


class ContainerNet(Host):
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
        self._complete(mixer.own_init)

    def _stage(self, mixer: MixerEntry, index: int, options: dict[str, Any]) -> Stage:
        config, dim = self.config, self.config.dims[index]
        resolution = config.maps(*config.img_size)[index]
        blocks: list[nn.Module] = []
        for number, rate in enumerate(drop_path_rates(config.drop_path_rate, config.depths)[index]):
            site = Site(stage=index, block=number, dim=dim, resolution=resolution)
            self.sites.append(site)
            block = BlockConfig(
                dim=dim, mlp_ratio=config.mlp_ratios[index], norm_eps=NORM_EPS, drop_path=rate, scale=None
            )
            blocks.append(ContainerBlock(mixer.build(site, **options), block))
        return Stage(blocks, None, ChannelsLastBatchNorm(dim, eps=NORM_EPS) if index == 3 else nn.Identity())
