"""A model's stages: which there are, and their maps by one forward pass that stops at the last one asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from stmbench.analyses.feature_layouts import first_tensor, layout_of
from stmbench.architectures.module_copies import FeatureSource, feature_source
from stmbench.errors import ConfigError, UnitError

UNKNOWN = "expected a model that names its feature maps (timm's feature_info), got none; choose another"
COARSEST_STEM = 4  # maps finer than this are the stem's, not a stage's


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """`number` counts from 0; `module` is the dotted path whose output is the stage's map; `index` is timm's."""

    number: int
    index: int
    module: str


class _ReachedError(Exception):
    """The map that was asked for exists: the rest of the forward pass is not needed."""


def stages_of(model: nn.Module) -> list[Stage]:
    """The stages of a model: the modules that were named for it, those of its `feature_info` without maps of the stem,
    or, of a given module that says nothing, those at which its maps become smaller.

    Raises:
        UnitError: a model that does not say where its feature maps are.
    """
    source = feature_source(model)
    if source is not None and source.stages:
        return [Stage(number=n, index=n, module=path) for n, path in enumerate(source.stages)]
    info: Any = getattr(model, "feature_info", None)
    entries = list(getattr(info, "info", info) or [])
    modules = dict(model.named_modules())
    named = [(i, e) for i, e in enumerate(entries) if isinstance(e, dict) and e.get("module") in modules]
    kept = [(i, e) for i, e in named if int(e.get("reduction", COARSEST_STEM)) >= COARSEST_STEM]
    if not kept and source is not None:
        return _stages_by_size(model)
    if not kept:
        raise UnitError(UNKNOWN)
    return [Stage(number=n, index=i, module=str(e["module"])) for n, (i, e) in enumerate(kept)]


def _stages_by_size(model: nn.Module) -> list[Stage]:
    """The last map of each size, found by one pass: of the outermost modules that return it, the last one.

    Raises:
        UnitError: fewer than two sizes, as in networks of tokens, or a pass that fails.
    """
    size: tuple[int, int] = getattr(model, "default_cfg", {})["input_size"][1:]
    seen: dict[tuple[int, int], tuple[int, str]] = {}  # size -> depth and path

    def keep(path: str) -> Any:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            if not isinstance(output, Tensor) or output.ndim != 4:
                return
            height, width = map_size = output.shape[2], output.shape[3]
            is_stage = COARSEST_STEM * height <= size[0] + 1 and COARSEST_STEM * width <= size[1] + 1
            is_pooled = height * width == 1 and min(seen, default=(1, 1)) > (1, 1)
            grows = any(height > rows for rows, _ in seen) and map_size not in seen  # a decoder's
            depth = path.count(".")
            if is_stage and not is_pooled and not grows and depth <= seen.get(map_size, (depth, ""))[0]:
                seen[map_size] = depth, path

        return hook

    like = next(model.parameters(), torch.empty(0))
    handles = [module.register_forward_hook(keep(path)) for path, module in model.named_modules() if path]
    training, failure = model.training, None
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, 3, *size, dtype=like.dtype, device=like.device))
    except Exception as error:
        failure = error
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    if failure is not None or len(seen) < 2:
        got = f"maps of {len(seen)} sizes" if failure is None else (str(failure).splitlines() or ["a failure"])[0]
        raise UnitError(f"expected stages, or a network whose maps become smaller, got {got}; give stage_modules=[...]")
    return [Stage(number=n, index=n, module=path) for n, (_, path) in enumerate(seen.values())]


def chosen_stages(model: nn.Module, numbers: Sequence[int] | None) -> list[Stage]:
    """The stages with these numbers, all of them for None.

    Raises:
        ConfigError: a stage that does not exist.
    """
    stages = stages_of(model)
    if numbers is None:
        return stages
    for number in numbers:
        if not 0 <= number < len(stages):
            raise ConfigError(f"a stage from 1 to {len(stages)}", str(number + 1), "change --stages")
    return [stages[number] for number in sorted(set(numbers))]


def stage_maps(model: nn.Module, stages: Sequence[Stage], images: Tensor) -> list[Tensor]:
    """The maps of `stages`, each (B, C, H, W), from one forward pass that ends with the last of them.

    Raises:
        UnitError: a stage whose output is no map, or that the pass does not come to in its turn.
    """
    source = feature_source(model)
    if source is not None and (source.stages or not hasattr(model, "forward_intermediates")):
        outputs = _hooked(model, stages, images)
        return [_as_map_of(output, stage, images, source) for stage, output in zip(stages, outputs, strict=True)]
    wanted = [stage.index for stage in stages]
    if hasattr(model, "forward_intermediates"):
        options = {"indices": wanted, "stop_early": True, "intermediates_only": True, "output_fmt": "NCHW"}
        try:
            maps: list[Tensor] = model.forward_intermediates(images, **options)  # type: ignore[operator]
        except (TypeError, AssertionError) as error:
            raise UnitError(f"this model gives no maps of its stages: {error}") from error
        return [_as_map(outputs) for outputs in maps]
    return [_as_map(outputs) for outputs in _hooked(model, stages, images)]


def _hooked(model: nn.Module, stages: Sequence[Stage], images: Tensor) -> list[Any]:
    """What the stages' modules return, in one pass that stops at the last of them."""
    outputs: dict[int, Any] = {}

    def keep(stage: Stage) -> Any:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            outputs[stage.index] = output
            if len(outputs) == len(stages):
                raise _ReachedError

        return hook

    handles = [model.get_submodule(stage.module).register_forward_hook(keep(stage)) for stage in stages]
    try:
        model(images)
    except _ReachedError:
        pass
    finally:
        for handle in handles:
            handle.remove()
    if list(outputs) != [stage.index for stage in stages]:
        order = ", ".join(stage.module for stage in stages if stage.index in outputs) or "none of them"
        raise UnitError(f"expected stages in the order in which the network comes to them, got {order}; list them so")
    return list(outputs.values())


def _as_map_of(output: Any, stage: Stage, images: Tensor, source: FeatureSource) -> Tensor:
    """(B, C, H, W) of what a given module's stage returns, in whatever layout and container it does."""
    tensor = first_tensor(output)
    if tensor is None:
        raise UnitError(f"expected a map from {stage.module}, got {type(output).__name__}; name another module")
    height, width = images.shape[-2:]
    return layout_of(tuple(tensor.shape), (height, width), source).as_map(tensor)


def _as_map(found: Any) -> Tensor:
    if not isinstance(found, Tensor) or found.ndim != 4:
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise UnitError(f"expected a stage's map (B, C, H, W), got {shape}; this model has no spatial stages")
    return found
