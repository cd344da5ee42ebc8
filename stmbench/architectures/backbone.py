"""What every backbone shares: its options, the path from image to logits, and the interface for analyses and timm.

A backbone builds a `stem` (image -> tokens), `stages` (each with `blocks`), `transitions` between stages (none if the
blocks carry the stride) and a `head`; this base does the rest. All maps are channels last, (B, H, W, C).
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar, cast

import torch
from torch import Tensor, nn

from stmbench.architectures.base import REMEDY
from stmbench.architectures.layers import PoolingHead, classifier
from stmbench.architectures.timm_layers import stages_taken
from stmbench.errors import ConfigError, require, require_finite
from stmbench.mixers.base import BlockPosition, Mixer, MixerEntry
from stmbench.mixers.ops.stages import require_stages

B = TypeVar("B", bound="Backbone")
LARGEST_STRIDE: Final = 32  # of a backbone's last map


@dataclasses.dataclass(frozen=True, kw_only=True)
class BackboneConfig(abc.ABC):
    """Options that all backbones share.

    Attributes:
        drop_path_rate: stochastic depth of the last block; it grows linearly from 0 in the first.
        num_classes: 0 for pooled features instead of logits.
        img_size: (H, W) of the images the model is designed for; it takes any other size from `smallest` on, unless its
            mixer is one for a single size.
        merged: whether mixers are replaced by their merged form (`Mixer.merge`) as soon as `eval()` is called, after
            weights were loaded. Such a model is in eval mode from the start and cannot be trained.
    """

    drop_path_rate: float = 0.0
    num_classes: int = 1000
    in_chans: int = 3
    img_size: tuple[int, int] = (224, 224)
    merged: bool = False

    def __post_init__(self) -> None:
        require_finite({field.name: getattr(self, field.name) for field in dataclasses.fields(self)}, REMEDY)
        require(min(self.img_size) >= 1, "img_size >= 1", self.img_size, REMEDY)
        require(self.num_classes >= 0, "num_classes >= 0", self.num_classes, REMEDY)
        require(self.in_chans >= 1, "in_chans >= 1", self.in_chans, REMEDY)
        require(0 <= self.drop_path_rate < 1, "0 <= drop_path_rate < 1", self.drop_path_rate, REMEDY)

    if TYPE_CHECKING:  # fields of some backbones, properties of others: a property here would be taken for a default

        @property
        def dims(self) -> tuple[int, ...]:
            """Channels of each stage's map."""

        @property
        def depths(self) -> tuple[int, ...]:
            """Blocks of each stage."""

    @abc.abstractmethod
    def maps(self, height: int, width: int) -> list[tuple[int, int]]:
        """(H, W) of each stage's map for an image of height x width."""

    @property
    def smallest(self) -> int:
        """Side of the smallest image for which no map is empty."""
        return next(side for side in range(1, 2 * LARGEST_STRIDE + 1) if min(map(min, self.maps(side, side))) >= 1)

    def _require_four(self, *names: str) -> None:
        """Raise ConfigError unless each of these fields has one value per stage."""
        for name in names:
            require_stages(name, getattr(self, name), REMEDY)


class Backbone(nn.Module):
    """Images (B, in_chans, H, W), H and W >= `smallest` -> logits (B, num_classes).

    A subclass sets the four modules and then calls `_finish`. Stem, transitions and head have `macs(height, width)`:
    multiply-adds for an input of that size; a block's `macs` maps parts of the network to multiply-adds, without its
    mixer's. A head also has `fc` (the classifier) and `width` (the features it takes). `parts` maps the parts to
    regular expressions of their modules' paths.
    """

    parts: ClassVar[Mapping[str, str]]
    reductions: tuple[int, ...] = (4, 8, 16, 32)  # of each stage's map
    only_size: tuple[str, tuple[int, int]] | None = None  # (mixer, the (H, W) of images) where it takes no other
    stem: nn.Module
    stages: nn.ModuleList
    transitions: nn.ModuleList
    head: nn.Module

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.config: Any = config
        self.smallest = config.smallest
        smaller = f"img_size >= {self.smallest}, the network's limit"
        require(min(config.img_size) >= self.smallest, smaller, config.img_size, REMEDY)
        self.num_classes = config.num_classes
        self.num_features = config.dims[-1]
        self.mixer_positions: list[BlockPosition] = []  # of stages.<stage>.blocks.<block>.mixer

    def _build_mixers(
        self, mixer: MixerEntry, stage: int, options: dict[str, Any]
    ) -> Iterator[tuple[nn.Module, float]]:
        """Each block's mixer and drop path rate, for a stage that has a mixer in every block."""
        config = self.config
        dim, resolution = config.dims[stage], config.maps(*config.img_size)[stage]
        for block, rate in enumerate(drop_path_rates(config.drop_path_rate, config.depths)[stage]):
            position = BlockPosition(
                stage=stage,
                block=block,
                dim=dim,
                resolution=resolution,
                index=sum(config.depths[:stage]) + block,
                depth=sum(config.depths),
            )
            self.mixer_positions.append(position)
            yield mixer.build(position, **options), rate

    def _finish(self, *, mixers_init_themselves: bool) -> None:
        """Describe the stages to timm and initialise the weights."""
        self.head_hidden_size: int = self.head.width  # type: ignore[assignment]
        pairs = zip(self.config.dims, self.reductions, strict=True)
        self.feature_info = [
            {"num_chs": dim, "reduction": reduction, "module": f"stages.{i}"}
            for i, (dim, reduction) in enumerate(pairs)
        ]
        mixers = [mixer for _, _, mixer in self.mixers()] if mixers_init_themselves else []
        initialised = {module for mixer in mixers for module in mixer.modules()}
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d) and module not in initialised:
                self._init(module)
        if self.config.merged:
            _, _, first = self.mixers()[0]
            merges = getattr(type(first), "merge", Mixer.merge) is not Mixer.merge
            require(merges, "a mixer with a merged form", type(first).__name__, "leave merged=true out")
            super().train(False)  # not merged yet: weights are loaded under the names of the form that was trained

    def train(self: B, mode: bool = True) -> B:
        """Training or eval mode; the latter merges the mixers of a `merged` model.

        Raises:
            ConfigError: a merged model cannot be trained.
        """
        if not self.config.merged:
            return super().train(mode)
        require(not mode, "a model to be trained", "merged=true, the form for inference", "leave merged=true out")
        for _, path, mixer in self.mixers():
            self.set_submodule(path, cast(Mixer, mixer).merge())
        return super().train(False)

    def _init(self, module: nn.Linear | nn.Conv2d) -> None:
        """Initialise one layer: weights from a truncated normal of standard deviation 0.02, biases zero."""
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)

    def mixers(self) -> list[tuple[BlockPosition, str, nn.Module]]:
        """Every mixer: its position in the network, its dotted path, the module."""
        paths = {at: f"stages.{at.stage}.blocks.{at.block}.mixer" for at in self.mixer_positions}
        return [(at, path, self.get_submodule(path)) for at, path in paths.items()]

    def macs(self, height: int, width: int) -> dict[str, int]:
        """Multiply-adds for one image, by part, from formulas. Raises TypeError if the mixer has no formula."""
        maps = self.config.maps(height, width)
        counts = dict.fromkeys(self.parts, 0)
        counts["stem"] = _macs(self.stem, height, width)
        if "transitions" in counts:
            counts["transitions"] = sum(_macs(t, *maps[i]) for i, t in enumerate(self.transitions))
        counts["mixers"] = sum(cast(Mixer, m).macs(*maps[at.stage]) for at, _, m in self.mixers())
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
        """The stages' maps after their norms (timm's interface): (last map, maps), or the maps alone.

        Raises:
            ConfigError: an output format other than NCHW and NHWC.
        """
        if output_fmt not in ("NCHW", "NHWC"):
            raise ConfigError("output_fmt NCHW or NHWC", repr(output_fmt), "change the argument")
        taken, last = stages_taken(len(self.stages), indices)
        maps = self._forward_stages(x, stop_after=last if stop_early else None)
        kept = [maps[i].permute(0, 3, 1, 2) if output_fmt == "NCHW" else maps[i] for i in taken]
        return kept if intermediates_only else (maps[-1], kept)

    def prune_intermediate_layers(
        self, indices: int | list[int] | None = None, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Drop the head and the stages after the last one requested (timm's interface)."""
        taken, last = stages_taken(len(self.stages), indices)
        self.stages, self.transitions = self.stages[: last + 1], self.transitions[:last]
        self.mixer_positions = [at for at in self.mixer_positions if at.stage <= last]
        if prune_head:
            self.head = nn.Identity()
        return list(taken)

    def drop_stage_norms(self) -> None:
        """Drop the norms after the stages, and take position embeddings out of the residual stream (see `Stage`): how
        Hu et al. attach a backbone to a detector."""
        for stage in self.stages:
            stage.norm, stage.position_in_residual = nn.Identity(), False  # type: ignore[assignment]

    def require_size(self, height: int, width: int) -> None:
        """Raise ConfigError for an image that is too small, or not of the only size that the mixer takes."""
        if min(height, width) < self.smallest:
            limit, size = f"{self.smallest}x{self.smallest}", f"{int(height)}x{int(width)}"  # tensors in a trace
            raise ConfigError(f"an image of at least {limit}, the network's limit", size, "use a larger resolution")
        if self.only_size is not None and (height, width) != self.only_size[1]:
            mixer, (own_height, own_width) = self.only_size
            expected = f"an image of {own_height}x{own_width}, the only size that {mixer} takes here"
            wanted = f"{int(height)}" if height == width else f"{int(height)}-{int(width)}"
            remedy = f"use that resolution, or a model with the option img_size={wanted}"
            raise ConfigError(expected, f"{int(height)}x{int(width)}", remedy)

    def _forward_stages(self, image: Tensor, stop_after: int | None = None) -> list[Tensor]:
        self.require_size(*image.shape[-2:])
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
        """Replace the classifier (timm's interface; pooling is always average pooling)."""
        require(global_pool in (None, "avg"), "global_pool 'avg'", global_pool, "leave it out")
        self.num_classes = num_classes
        old = next(self.parameters())
        self.head.fc = classifier(self.head_hidden_size, num_classes).to(old.device, old.dtype)
        if isinstance(self.head.fc, nn.Linear):
            self._init(self.head.fc)

    def drop_head(self) -> None:
        """Leave nothing after the last map's norm but average pooling: images -> (B, D) features."""
        self.head, self.num_classes = PoolingHead(self.num_features, 0), 0
        self.head_hidden_size = self.num_features

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Save memory in training: recompute the blocks in the backward pass."""
        for stage in self.stages:
            stage.grad_checkpointing = enable  # type: ignore[assignment]

    def no_weight_decay(self) -> set[str]:
        """Parameters without weight decay: position embeddings, layer scales, and those that the mixers name."""
        names = {name for name, _ in self.named_parameters() if name.rsplit(".", 1)[-1] in ("position", "scale")}
        for _, path, mixer in self.mixers():
            names |= {f"{path}.{name}" for name in getattr(mixer, "no_weight_decay", set)()}
        return names

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Groups of layers for layer-wise learning rates (timm's interface)."""
        blocks = r"^stages\.(\d+)" if coarse else [(r"^stages\.(\d+)\.blocks\.(\d+)", None), (r"^stages\.(\d+)", (0,))]
        return {"stem": r"^stem", "blocks": blocks}


def drop_path_rates(rate: float, depths: tuple[int, ...]) -> list[list[float]]:
    """Drop path rate of every block of every stage: from 0 in the network's first block to `rate` in its last."""
    flat = torch.linspace(0, rate, sum(depths), device="cpu").tolist()
    return [flat[sum(depths[:i]) : sum(depths[: i + 1])] for i in range(len(depths))]


def _macs(module: nn.Module, height: int, width: int) -> int:
    return int(cast(Mixer, module).macs(height, width))
