"""From a name's options to a host: fields of the host's config go to the host, the others to the mixer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

from stmbench.errors import ConfigError
from stmbench.mixers.base import MixerEntry

C = TypeVar("C")


def build_host(
    host: Callable[..., nn.Module], network: C, mixer: MixerEntry, *, name: str, fixed: dict[str, Any], **options: Any
) -> nn.Module:
    """`host(mixer, config, **mixer options)`.

    Args:
        network: the host's config (a dataclass) at this scale.
        name: of the architecture, for messages.
        fixed: the mixer's options at this scale; `options` win over them and over the fields of `network`.

    Raises:
        ConfigError: an option that neither has, or a value that one of them refuses.
    """
    fields = [field.name for field in dataclasses.fields(network)]  # type: ignore[arg-type]
    known = mixer.options()
    for key in options:
        if key not in fields and key not in known:
            names = ", ".join([*fields, *known])
            raise ConfigError(f"an option of {name}_{mixer.name} ({names})", repr(key), "remove or rename it")
    changes = {key: value for key, value in options.items() if key in fields}
    side = changes.get("img_size", 0)
    if side is None:
        del changes["img_size"]
    elif isinstance(side, int) and side:
        changes["img_size"] = (side, side)
    rest = {key: value for key, value in options.items() if key not in fields}
    config = dataclasses.replace(network, **changes)  # type: ignore[type-var]
    return host(mixer, config, **{**fixed, **rest})
