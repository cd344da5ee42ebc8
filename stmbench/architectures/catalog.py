"""Models by name: ours, those of the user's plug-ins, and all of timm's."""

from __future__ import annotations

import functools
from typing import Any

from torch import nn

from stmbench.architectures import given_models
from stmbench.architectures.detectors.base import DETECTORS, build_detector
from stmbench.architectures.model_names import TIMM, ModelName, is_pattern, model_names
from stmbench.errors import ConfigError, UnknownNameError, require_finite
from stmbench.plugins import timm_models
from stmbench.registry import matches

__all__ = ["ModelName", "create_model", "is_pattern", "list_models"]


def create_model(name: str, **options: Any) -> nn.Module:
    """A model with random weights.

    Args:
        name: `unified_halo_attn_tiny`, `cotnet50`, `timm:<name>` or `<detector>:<name>`, with options in brackets if
            needed (`unified_halo_attn_tiny[design=C,halo=1]`). A name from `model_name_of` stands for a deep copy of
            that module, with its weights.
        options: of the architecture (num_classes, in_chans, img_size, drop_path_rate, dims, depths, design, ...), of
            the mixer (halo, window, ...), and timm's (features_only, out_indices, ...). They win over the name's.

    Returns:
        Images (B, in_chans, H, W) -> logits (B, num_classes), or a detector (see `detectors.base`).

    Raises:
        UnknownNameError: no such model, mixer or scale; suggests the nearest names.
        ConfigError: an option that the model does not have, or a bad value, such as a number that is not finite.
    """
    parsed = ModelName.parse(name)
    merged = {**parsed.options, **options}
    require_finite(merged, "change the model's options")
    if parsed.detector is not None:
        create = functools.partial(create_model, parsed.backbone_base)
        return build_detector(parsed.detector, create, scale=parsed.scale, options=merged)
    if given_models.is_given(parsed.base):
        if merged:
            got = ", ".join(merged)
            raise ConfigError(f"no options for {parsed.base}, a module that is built already", got, "leave them out")
        return given_models.copy_of(parsed.base)
    if parsed.architecture == "timm":
        return _create_timm(parsed.base.removeprefix(TIMM), merged)
    import timm

    from stmbench.architectures import timm_registry

    timm_registry.register_all()
    sides = merged.get("img_size", 1)
    pair = sides if isinstance(sides, tuple | list) else (sides,)
    if any(isinstance(side, int) and side < 1 for side in pair):  # timm would raise an error of its own
        raise ConfigError("img_size >= 1", repr(sides), "change the model's options")
    model: nn.Module = timm.create_model(parsed.base, **merged)
    return model


def list_models(pattern: str = "*") -> list[str]:
    """Registered names that match a shell pattern, or that contain the text if it has no wildcard.

    The timm models of plug-ins are among them. With `timm:` before the pattern, timm's names are searched instead; with
    the kind of a detector, its backbones.
    """
    kind, colon, backbones = pattern.partition(":")
    if colon and kind in DETECTORS:
        return [f"{kind}:{name}" for name in list_models(backbones or "*")]
    if pattern.startswith(TIMM):
        import timm

        wanted = pattern.removeprefix(TIMM)
        return [TIMM + name for name in timm.list_models() if matches(wanted, name)]
    names = [*model_names(), *(TIMM + name for name in timm_models())]
    return [name for name in names if matches(pattern, name, name.removeprefix(TIMM))]


def _create_timm(name: str, options: dict[str, Any]) -> nn.Module:
    import timm

    if not timm.is_model(name):
        raise UnknownNameError("timm model", name, timm.list_models())
    try:
        model: nn.Module = timm.create_model(name, **options)
    except TypeError as error:
        raise ConfigError(f"options of timm's {name}", str(error), "remove or rename the option") from error
    return model
