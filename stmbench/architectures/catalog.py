"""Models by name: ours, those of the user's plug-ins, and any of timm's."""

from __future__ import annotations

import fnmatch
from typing import Any

import timm
from torch import nn

from stmbench.architectures import given_models, timm_names
from stmbench.architectures.names import TIMM, ModelName, model_names
from stmbench.errors import ConfigError, UnknownNameError

__all__ = ["ModelName", "create_model", "list_models"]


def create_model(name: str, **options: Any) -> nn.Module:
    """A model with random weights.

    Args:
        name: `unified_halo_attn_tiny`, with options in brackets (`unified_halo_attn_tiny[design=C,halo=1]`), or
            `timm:<name>`. A name that `model_name_of` gave stands for a deep copy of that module, with its weights.
        options: of the architecture (num_classes, in_chans, img_size, drop_path_rate, dims, depths, design, ...), of
            the mixer (halo, window, ...), and timm's (features_only, out_indices, ...). They win over the name's.

    Raises:
        UnknownNameError: no such model, mixer or scale; the nearest names are suggested.
        ConfigError: an option that the model does not have, or a value it refuses.
    """
    parsed = ModelName.parse(name)
    merged = {**parsed.options, **options}
    if given_models.is_given(parsed.base):
        if merged:
            got = ", ".join(merged)
            raise ConfigError(f"no options for {parsed.base}, a module that is built already", got, "leave them out")
        return given_models.copy_of(parsed.base)
    if parsed.architecture == "timm":
        return _create_timm(parsed.base.removeprefix(TIMM), merged)
    timm_names.register_all()
    sides = merged.get("img_size", 1)
    pair = sides if isinstance(sides, tuple | list) else (sides,)
    if any(isinstance(side, int) and side < 1 for side in pair):  # timm would raise an error of its own
        raise ConfigError("img_size >= 1", repr(sides), "change the model's options")
    model: nn.Module = timm.create_model(parsed.base, **merged)
    return model


def list_models(pattern: str = "*") -> list[str]:
    """Registered names that match a shell pattern; `timm:...` patterns are looked up in timm."""
    if pattern.startswith(TIMM):
        return [TIMM + name for name in timm.list_models(pattern.removeprefix(TIMM))]
    return fnmatch.filter(model_names(), pattern)


def _create_timm(name: str, options: dict[str, Any]) -> nn.Module:
    if not timm.is_model(name):
        raise UnknownNameError("timm model", name, timm.list_models())
    try:
        model: nn.Module = timm.create_model(name, **options)
    except TypeError as error:
        raise ConfigError(f"options that timm's {name} takes", str(error), "remove or rename the option") from error
    return model
