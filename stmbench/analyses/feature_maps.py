"""The feature maps of a model: one forward pass shows that after each block, and those around each mixer."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

from stmbench.analyses.feature_layouts import first_tensor, layout_of
from stmbench.analyses.stages import UNKNOWN, stages_of
from stmbench.architectures.module_copies import feature_source
from stmbench.errors import UnitError

Place = Literal["block", "mixer input", "mixer output"]
Receive = Callable[["Probe", Tensor], None]
ANY: Final = 0  # channels
PLACES: Final[tuple[Place, ...]] = ("block", "mixer input", "mixer output")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Probe:
    """One feature map to look at: that after a block, or the input or output of its mixer.

    `stage` and `block` count from 0; `module` is the dotted path that is hooked. `channels` is the number of channels
    where the map's layout has to be found out (timm's models), None for this project's (B, H, W, C), and `ANY` where
    not even they are known (modules of the caller).
    """

    stage: int
    block: int
    place: Place
    module: str
    channels: int | None = None

    @property
    def name(self) -> str:
        """Unique within a model: 'block_0_1', 'mixer_input_0_1'."""
        return f"{self.place.replace(' ', '_')}_{self.stage}_{self.block}"


def probes_of(model: nn.Module) -> list[Probe]:
    """Every map that can be looked at, in the order of the network.

    Of this project's architectures the maps after each block and around each mixer; of timm's models those after each
    block of each stage in `feature_info`, as their mixers are not known; of modules of the caller that have none those
    of their stages.

    Raises:
        UnitError: a model whose feature maps cannot be found.
    """
    if not hasattr(model, "mixers"):
        return _of_timm(model)
    known: Any = model
    around = {(site.stage, site.block): path for site, path, _ in known.mixers()}
    probes = []
    for stage, module in enumerate(known.stages):
        for block in range(len(module.blocks)):
            path = around.get((stage, block))
            if path is not None:
                probes.append(Probe(stage=stage, block=block, place="mixer input", module=path))
                probes.append(Probe(stage=stage, block=block, place="mixer output", module=path))
            probes.append(Probe(stage=stage, block=block, place="block", module=f"stages.{stage}.blocks.{block}"))
    return probes


def _of_timm(model: nn.Module) -> list[Probe]:
    """The blocks of a stage are the children of its `blocks`, or its own where it is a sequence; else it is one."""
    info: Any = getattr(model, "feature_info", None)
    entries = list(getattr(info, "info", info) or []) if info is not None else []
    source, probes = feature_source(model), []
    for stage in stages_of(model):
        if source is not None and (source.stages or not entries):
            probes.append(Probe(stage=stage.number, block=0, place="block", module=stage.module, channels=ANY))
            continue
        if stage.index >= len(entries):
            raise UnitError(UNKNOWN)
        module, channels = model.get_submodule(stage.module), int(entries[stage.index]["num_chs"])
        inner = getattr(module, "blocks", module)
        path = stage.module if inner is module else f"{stage.module}.blocks"
        names = [name for name, _ in inner.named_children()] if isinstance(inner, nn.Sequential | nn.ModuleList) else []
        paths = [f"{path}.{name}" for name in names] or [stage.module]
        for block, one in enumerate(paths):
            probes.append(Probe(stage=stage.number, block=block, place="block", module=one, channels=channels))
    return probes


def look_at(model: nn.Module, probes: Sequence[Probe], images: Tensor, receive: Receive) -> Any:
    """Run the model on a batch, and hand over each map as soon as it exists; none is kept. The model's output.

    Args:
        images: the model's input.
        receive: gets the probe and its map as (B, C, H, W) float32, without a graph.

    Raises:
        UnitError: an output that is no feature map.
    """
    size = (images.shape[-2], images.shape[-1])

    def before(probe: Probe) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _, inputs: receive(probe, as_map(inputs[0], probe, model, size))

    def after(probe: Probe) -> Callable[[nn.Module, Any, Any], None]:
        return lambda _, __, output: receive(probe, as_map(output, probe, model, size))

    handles = []
    try:
        for probe in probes:
            module = model.get_submodule(probe.module)
            if probe.place == "mixer input":
                handles.append(module.register_forward_pre_hook(before(probe)))
            else:
                handles.append(module.register_forward_hook(after(probe)))
        with torch.inference_mode():
            return model(images)
    finally:
        for handle in handles:
            handle.remove()


def as_map(found: Any, probe: Probe, model: nn.Module, size: tuple[int, int] = (0, 0)) -> Tensor:
    """(B, C, H, W) float32 of what a module gave: (B, H, W, C), (B, C, H, W), or tokens (B, N, C) of a square map.

    `size` is that of the images, whose proportions a map of unknown layout has.
    """
    if probe.channels == ANY and (source := feature_source(model)) is not None:
        tensor = first_tensor(found)
        if tensor is None:
            raise UnitError(f"expected a feature map after {probe.module}, got {type(found).__name__}")
        return layout_of(tuple(tensor.shape), size, source).as_map(tensor).float()
    if isinstance(found, Tensor) and found.ndim == 3 and probe.channels is not None:
        found = _unrolled(found, model)
    if not isinstance(found, Tensor) or found.ndim != 4:
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise UnitError(f"expected a feature map with two spatial axes after {probe.module}, got {shape}")
    channels_last = probe.channels is None or (found.shape[1] != probe.channels and found.shape[3] == probe.channels)
    return (found.permute(0, 3, 1, 2) if channels_last else found).float()


def _unrolled(tokens: Tensor, model: nn.Module) -> Tensor:
    """(B, prefix + H W, C) -> (B, C, H, W), without the class and register tokens."""
    tokens = tokens[:, int(getattr(model, "num_prefix_tokens", 0)) :]
    side = math.isqrt(tokens.shape[1])
    if side * side != tokens.shape[1]:
        raise UnitError(f"expected the tokens of a square map, got {tokens.shape[1]}; use a square resolution")
    return tokens.transpose(1, 2).reshape(len(tokens), -1, side, side)
