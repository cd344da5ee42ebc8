"""The unified architecture of Hu et al., "Demystify Transformers & Convolutions in Modern Image Deep Networks".

Sections 4.1 and 4.2, Fig. 3: an overlapping stem, four stages of transformer blocks around one mixer, an overlapping
transition between stages, a LayerNorm after each stage, and a 1x1 convolution before pooling.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from timm.models import checkpoint_seq
from timm.models._features import feature_take_indices
from torch import Tensor, nn

from stmbench.architectures.blocks import BlockConfig, ConvNextBlock, TransformerBlock
from stmbench.architectures.downsampling import NORM_EPS, Stem, Transition
from stmbench.architectures.head import Head, classifier
from stmbench.architectures.unified_config import MIN_SIZE, UnifiedConfig
from stmbench.errors import ConfigError
from stmbench.mixers.base import Mixer, MixerEntry, Site, require

PARTS = {
    "stem": r"stem(\..*)?",
    "transitions": r"transitions(\..*)?",
    "mixers": r"stages\.\d+\.blocks\.\d+\.mixer(\..*)?",
    "mlps": r"stages\.\d+\.blocks\.\d+\.mlp(\..*)?",
    "norms": r"stages\.\d+\.(norm|blocks\.\d+\.(norm|branch)\d)(\..*)?",
    "head": r"head(\..*)?",
}


class Stage(nn.Module):
    """Blocks of one width, and the norm after them: (B, H, W, C) -> (B, H, W, C)."""

    def __init__(self, blocks: list[nn.Module], position: Tensor | None, norm: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.norm = norm
        self.position = None if position is None else nn.Parameter(position)  # (1, H, W, C)
        self.grad_checkpointing = False

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        if self.position is not None:  # it stays in the residual
            x = x + resized_position(self.position, x.shape[1], x.shape[2])
        if self.grad_checkpointing and self.training:
            x = checkpoint_seq(self.blocks, x, use_reentrant=False)
        else:
            for block in self.blocks:
                x = block(x)
        y: Tensor = self.norm(x)
        return y


class Unified(nn.Module):
    """Images (B, in_chans, H, W), H and W >= 32 -> logits (B, num_classes)."""

    parts = PARTS

    def __init__(self, mixer: MixerEntry, config: UnifiedConfig, **mixer_options: Any) -> None:
        super().__init__()
        self.config, self.num_classes = config, config.num_classes
        self.num_features = config.dims[-1]
        self.sites: list[Site] = []
        self.stem = Stem(config.in_chans, config.dims[0])
        pairs = zip(config.dims, config.dims[1:], strict=False)
        self.transitions = nn.ModuleList(Transition(dim, wider) for dim, wider in pairs)
        self.stages = nn.ModuleList(self._stage(mixer, index, mixer_options) for index in range(4))
        after_pool = config.design in "BCE"
        self.head = Head(config.dims[-1], config.num_classes, norm_after_pool=after_pool, eps=NORM_EPS)
        self.head_hidden_size = self.head.width
        self.feature_info = [
            {"num_chs": dim, "reduction": 4 * 2**i, "module": f"stages.{i}"} for i, dim in enumerate(config.dims)
        ]
        self._init_weights(mixer.own_init)

    def _stage(self, mixer: MixerEntry, index: int, options: dict[str, Any]) -> Stage:
        config, dim = self.config, self.config.dims[index]
        rates = torch.linspace(0, config.drop_path_rate, sum(config.depths), device="cpu").tolist()
        first = sum(config.depths[:index])
        resolution = config.maps(*config.img_size)[index]
        block_type = ConvNextBlock if config.design in "DE" else TransformerBlock
        blocks: list[nn.Module] = []
        for number in range(config.depths[index]):
            site = Site(stage=index, block=number, dim=dim, resolution=resolution)
            self.sites.append(site)
            block_config = BlockConfig(
                dim=dim,
                mlp_ratio=config.mlp_ratios[index],
                norm_eps=config.norm_eps,
                drop_path=rates[first + number],
                scale=config.layer_scale,
            )
            blocks.append(block_type(mixer.build(site, **options), block_config))
        position = nn.init.trunc_normal_(torch.empty(1, *resolution, dim), std=0.02)
        norm = nn.Identity() if config.design in "CE" else nn.LayerNorm(dim, eps=NORM_EPS)
        return Stage(blocks, position if config.position_embedding[index] else None, norm)

    def _init_weights(self, mixers_own_init: bool) -> None:
        kept = {module for _, path, mixer in self.mixers() if mixers_own_init for module in mixer.modules() if path}
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d) and module not in kept:
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def mixers(self) -> list[tuple[Site, str, nn.Module]]:
        """Every mixer: its place, its dotted path, the module."""
        paths = [f"stages.{site.stage}.blocks.{site.block}.mixer" for site in self.sites]
        return [(site, path, self.get_submodule(path)) for site, path in zip(self.sites, paths, strict=True)]

    def macs(self, height: int, width: int) -> dict[str, int]:
        """Multiply-adds for one image by part, by formula. Raises TypeError where the mixer has no formula."""
        config, maps = self.config, self.config.maps(height, width)
        counts = dict.fromkeys(PARTS, 0)
        counts["stem"] = self.stem.macs(height, width)
        transitions = cast("list[Transition]", list(self.transitions))
        counts["transitions"] = sum(t.macs(*maps[i]) for i, t in enumerate(transitions))
        counts["mixers"] = sum(cast(Mixer, m).macs(*maps[site.stage]) for site, _, m in self.mixers())
        counts["head"] = self.head.macs(*maps[-1])
        for (rows, columns), dim, depth, ratio in zip(maps, config.dims, config.depths, config.mlp_ratios, strict=True):
            counts["mlps"] += depth * rows * columns * 2 * dim * int(dim * ratio)
        return counts

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) -> the last stage's map, (B, H/32, W/32, C), after its norm."""
        return self._forward_stages(x)[-1]

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """(B, H, W, C) -> (B, num_classes), or the pooled features."""
        y: Tensor = self.head(x, pre_logits=pre_logits)
        return y

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) -> (B, num_classes)."""
        return self.forward_head(self.forward_features(x))

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """timm's interface to the stages' maps (after their norms): the maps alone, or (last map, maps).

        Raises ConfigError for an output format besides NCHW and NHWC.
        """
        if output_fmt not in ("NCHW", "NHWC"):
            raise ConfigError("output_fmt NCHW or NHWC", repr(output_fmt), "change the argument")
        taken, last = feature_take_indices(len(self.stages), indices)
        maps = self._forward_stages(x, stop_after=last if stop_early else None)
        kept = [maps[i].permute(0, 3, 1, 2) if output_fmt == "NCHW" else maps[i] for i in taken]
        return kept if intermediates_only else (maps[-1], kept)

    def prune_intermediate_layers(
        self, indices: int | list[int] | None = None, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Drop the stages after the last one asked for, and the head (timm's interface)."""
        taken, last = feature_take_indices(len(self.stages), indices)
        self.stages, self.transitions = self.stages[: last + 1], self.transitions[:last]
        self.sites = [site for site in self.sites if site.stage <= last]
        if prune_head:
            self.head = nn.Identity()  # type: ignore[assignment]
        return list(taken)

    def _forward_stages(self, image: Tensor, stop_after: int | None = None) -> list[Tensor]:
        if min(image.shape[-2:]) < MIN_SIZE:
            size = f"{image.shape[-2]}x{image.shape[-1]}"
            raise ConfigError(f"an image of at least {MIN_SIZE}x{MIN_SIZE}", size, "use a larger resolution")
        x, maps = self.stem(image), []
        for index, stage in enumerate(self.stages):
            x = stage(x if index == 0 else self.transitions[index - 1](x))
            maps.append(x)
            if index == stop_after:
                break
        return maps

    def get_classifier(self) -> nn.Module:
        """The last linear layer (timm's interface)."""
        return self.head.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """A new classifier for `num_classes` (timm's interface; the pooling is always the average)."""
        require(global_pool in (None, "avg"), "global_pool 'avg'", global_pool, "leave it out")
        self.num_classes = num_classes
        old = next(self.head.conv.parameters())
        self.head.fc = classifier(self.head.width, num_classes).to(old.device, old.dtype)
        if isinstance(self.head.fc, nn.Linear):
            nn.init.trunc_normal_(self.head.fc.weight, std=0.02)
            nn.init.zeros_(self.head.fc.bias)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trade time for memory in training: recompute the blocks in the backward pass."""
        for stage in self.stages:
            stage.grad_checkpointing = enable  # type: ignore[assignment]

    def no_weight_decay(self) -> set[str]:
        """Position tables, layer scales, and what the mixers name: nothing that a decay should pull to zero."""
        names = {name for name, _ in self.named_parameters() if name.rsplit(".", 1)[-1] in ("position", "scale")}
        for _, path, mixer in self.mixers():
            names |= {f"{path}.{name}" for name in getattr(mixer, "no_weight_decay", set)()}
        return names

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Layers for layer-wise learning rates (timm's interface)."""
        blocks = r"^stages\.(\d+)" if coarse else [(r"^stages\.(\d+)\.blocks\.(\d+)", None), (r"^stages\.(\d+)", (0,))]
        return {"stem": r"^stem", "blocks": blocks}


def resized_position(table: Tensor, height: int, width: int) -> Tensor:
    """A position table (1, H, W, C) at another size, bilinear with aligned corners, as the authors resize theirs."""
    if table.shape[1:3] == (height, width):
        return table
    resized = F.interpolate(table.permute(0, 3, 1, 2), (height, width), mode="bilinear", align_corners=True)
    return resized.permute(0, 2, 3, 1)
