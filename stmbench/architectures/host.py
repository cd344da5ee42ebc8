"""What every host of mixers shares: the path from an image to logits, and the interface that analyses and timm use.

A host builds four things and leaves the rest to this base: `stem` (image -> tokens), `stages` (each with `blocks`),
`transitions` between them (none where the blocks carry the stride) and a `head`. All maps are (B, H, W, C).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

import torch
from timm.models._features import feature_take_indices
from torch import Tensor, nn

from stmbench.architectures.head import classifier
from stmbench.architectures.host_config import REMEDY, HostConfig
from stmbench.errors import ConfigError, require
from stmbench.mixers.base import Mixer, Site


class Host(nn.Module):
    """Images (B, in_chans, H, W), H and W >= `smallest` -> logits (B, num_classes).

    A block says with `macs(height, width) -> {part: multiply-adds}` what it costs besides its mixer; a stem, a
    transition and a head have `macs(height, width) -> int` of their input. A head has `fc` (the classifier) and
    `width`, the features it gets. A subclass calls `_complete` when its four things are there.
    """

    parts: ClassVar[Mapping[str, str]]
    reductions: tuple[int, ...] = (4, 8, 16, 32)  # of each stage's map
    stem: nn.Module
    stages: nn.ModuleList
    transitions: nn.ModuleList
    head: nn.Module

    def __init__(self, config: HostConfig) -> None:
        super().__init__()
        self.config: Any = config
        self.smallest = config.smallest
        smaller = f"img_size >= {self.smallest}, the network's limit"
        require(min(config.img_size) >= self.smallest, smaller, config.img_size, REMEDY)
        self.num_classes = config.num_classes
        self.num_features = config.dims[-1]
        self.sites: list[Site] = []  # of the blocks that hold a mixer, at stages.<stage>.blocks.<block>.mixer

    def _complete(self, mixers_own_init: bool) -> None:
        """Describe the stages to timm, and give weights their first values."""
        self.head_hidden_size: int = self.head.width  # type: ignore[assignment]
        pairs = zip(self.config.dims, self.reductions, strict=True)
        self.feature_info = [
            {"num_chs": dim, "reduction": reduction, "module": f"stages.{i}"}
            for i, (dim, reduction) in enumerate(pairs)
        ]
        kept = {module for _, _, mixer in self.mixers() if mixers_own_init for module in mixer.modules()}
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d) and module not in kept:
                self._init(module)

    def _init(self, module: nn.Linear | nn.Conv2d) -> None:
        """First values of one layer: a truncated normal of standard deviation 0.02, and zero biases."""
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)

    def mixers(self) -> list[tuple[Site, str, nn.Module]]:
        """Every mixer: its place, its dotted path, the module."""
        paths = [f"stages.{site.stage}.blocks.{site.block}.mixer" for site in self.sites]
        return [(site, path, self.get_submodule(path)) for site, path in zip(self.sites, paths, strict=True)]

    def macs(self, height: int, width: int) -> dict[str, int]:
        """Multiply-adds for one image by part, by formula. Raises TypeError where the mixer has no formula."""
        maps = self.config.maps(height, width)
        counts = dict.fromkeys(self.parts, 0)
        counts["stem"] = _macs(self.stem, height, width)
        if "transitions" in counts:
            counts["transitions"] = sum(_macs(t, *maps[i]) for i, t in enumerate(self.transitions))
        counts["mixers"] = sum(cast(Mixer, m).macs(*maps[site.stage]) for site, _, m in self.mixers())
        counts["head"] = _macs(self.head, *maps[-1])
        for stage, size in zip(self.stages, maps, strict=True):
            for block in cast(Any, stage).blocks:
                for part, number in block.macs(*size).items():
                    counts[part] += number
        return counts

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) -> the last stage's map, (B, H', W', C), after its norm."""
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
            self.head = nn.Identity()
        return list(taken)

    def _forward_stages(self, image: Tensor, stop_after: int | None = None) -> list[Tensor]:
        if min(image.shape[-2:]) < self.smallest:
            limit, size = f"{self.smallest}x{self.smallest}", f"{image.shape[-2]}x{image.shape[-1]}"
            raise ConfigError(f"an image of at least {limit}, the network's limit", size, "use a larger resolution")
        x, maps = self.stem(image), []
        for index, stage in enumerate(self.stages):
            if index and len(self.transitions):
                x = self.transitions[index - 1](x)
            x = stage(x)
            maps.append(x)
            if index == stop_after:
                break
        return maps

    def get_classifier(self) -> nn.Module:
        """The last linear layer (timm's interface)."""
        return cast(nn.Module, self.head.fc)

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """A new classifier for `num_classes` (timm's interface; the pooling is always the average)."""
        require(global_pool in (None, "avg"), "global_pool 'avg'", global_pool, "leave it out")
        self.num_classes = num_classes
        old = next(self.parameters())
        self.head.fc = classifier(self.head_hidden_size, num_classes).to(old.device, old.dtype)
        if isinstance(self.head.fc, nn.Linear):
            self._init(self.head.fc)

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


def drop_path_rates(rate: float, depths: tuple[int, ...]) -> list[list[float]]:
    """Of every block of every stage: from 0 in the first block of the network to `rate` in the last."""
    flat = torch.linspace(0, rate, sum(depths), device="cpu").tolist()
    return [flat[sum(depths[:i]) : sum(depths[: i + 1])] for i in range(len(depths))]


def _macs(module: nn.Module, height: int, width: int) -> int:
    return int(cast(Mixer, module).macs(height, width))
