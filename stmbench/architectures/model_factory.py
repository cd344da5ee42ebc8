"""From a model's options to a backbone: fields of the backbone's config go to the backbone, the others to the mixer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import nn

from stmbench.errors import ConfigError
from stmbench.mixers.base import MixerEntry

C = TypeVar("C")


def build_backbone(
    backbone: Callable[..., nn.Module],
    config: C,
    mixer: MixerEntry,
    *,
    architecture: str,
    preset: Mapping[str, Any],
    **options: Any,
) -> nn.Module:
    """`backbone(mixer, config, **mixer_options)`.

    Args:
        config: the backbone's config (a dataclass) at this scale.
        architecture: its name, for messages.
        preset: the mixer's options at this scale; `options` win over them and over the fields of `config`.

    Raises:
        ConfigError: an option that neither the backbone nor the mixer has, or a value that one of them refuses.
    """
    changes, mixer_options = split_options(options, config, mixer, architecture)
    config = dataclasses.replace(config, **changes)  # type: ignore[type-var]
    return backbone(mixer, config, **{**preset, **mixer_options})


def split_options(
    options: Mapping[str, Any], config: object, mixer: MixerEntry, architecture: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A model's options as (changes to the backbone's config, options of the mixer).

    A single number for `img_size` stands for a square; `img_size=None` leaves it as it is.

    Raises:
        ConfigError: an option that neither has.
    """
    fields = [field.name for field in dataclasses.fields(config)]  # type: ignore[arg-type]
    known = [*fields, *mixer.options()]
    for key in options:
        if key not in known:
            expected = f"an option of {architecture}_{mixer.name} ({', '.join(known)})"
            raise ConfigError(expected, repr(key), "remove or rename it")
    changes = {key: value for key, value in options.items() if key in fields}
    if "img_size" in changes:
        size = changes.pop("img_size")
        if size is not None:
            changes["img_size"] = (size, size) if isinstance(size, int) else tuple(size)
    return changes, {key: value for key, value in options.items() if key not in fields}
