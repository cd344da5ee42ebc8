"""A model's stages: which there are, and their maps by one forward pass that stops at the last one asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from stmbench.errors import ConfigError, UnitError

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
    """The stages of a model, from its `feature_info`, without maps of the stem.

    Raises:
        UnitError: a model that does not say where its feature maps are.
    """
    info: Any = getattr(model, "feature_info", None)
    entries = list(getattr(info, "info", info) or [])
    modules = dict(model.named_modules())
    named = [(i, e) for i, e in enumerate(entries) if isinstance(e, dict) and e.get("module") in modules]
    kept = [(i, e) for i, e in named if int(e.get("reduction", COARSEST_STEM)) >= COARSEST_STEM]
    if not kept:
        raise UnitError("expected a model that names its feature maps (timm's feature_info), got none; choose another")
    return [Stage(number=n, index=i, module=str(e["module"])) for n, (i, e) in enumerate(kept)]


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
        UnitError: a stage whose output is no map.
    """
    last = max(stage.index for stage in stages)
    wanted = [stage.index for stage in stages]
    if hasattr(model, "forward_intermediates"):
        options = {"indices": wanted, "stop_early": True, "intermediates_only": True, "output_fmt": "NCHW"}
        try:
            maps: list[Tensor] = model.forward_intermediates(images, **options)  # type: ignore[operator]
        except (TypeError, AssertionError) as error:
            raise UnitError(f"this model gives no maps of its stages: {error}") from error
        return [_as_map(found) for found in maps]
    return _hooked(model, stages, images, last)


def _hooked(model: nn.Module, stages: Sequence[Stage], images: Tensor, last: int) -> list[Tensor]:
    found: dict[int, Tensor] = {}

    def keep(stage: Stage) -> Any:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            found[stage.index] = output
            if stage.index == last:
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
    return [_as_map(found[stage.index]) for stage in stages]


def _as_map(found: Any) -> Tensor:
    if not isinstance(found, Tensor) or found.ndim != 4:
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise UnitError(f"expected a stage's map (B, C, H, W), got {shape}; this model has no spatial stages")
    return found
