"""The registries of architectures, which any mixer plugs into, and of models with names of their own.

An architecture turns a mixer and a scale into a model called `<architecture>_<mixer>_<scale>`. Models that papers
released under other names (`cotnet50`) are registered alongside them, under those names.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from torch import nn

from stmbench.errors import ConfigError
from stmbench.mixers.base import MixerEntry
from stmbench.registry import Registry

REMEDY: Final = "change the model's options"

MODULES = ("unified", "container", "cotnet", "isotropic")  # each registers an architecture, named models, or both
Builder = Callable[..., nn.Module]  # (MixerEntry, scale, **options) -> model


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArchitectureEntry:
    """What the registry knows about an architecture.

    Attributes:
        build: (mixer's entry, scale, **options) -> model.
        default_size: scale -> side in pixels of the images it was designed for.
        mixers: those compared in it unless others are named.
        cfg: changes to timm's description of its models (`first_conv`, `classifier`, ...).
    """

    name: str
    title: str
    citation: str
    build: Builder
    default_size: Callable[[str], int]
    mixers: tuple[str, ...]
    cfg: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NamedModel:
    """A model with a name of its own: `build(**options)` makes it, `mixer` is the mixer it was published with."""

    name: str
    architecture: str
    mixer: str
    build: Callable[..., nn.Module]
    default_size: int = 224
    cfg: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def _load() -> None:
    for module in MODULES:
        importlib.import_module(f"stmbench.architectures.{module}")


ARCHITECTURES: Registry[ArchitectureEntry] = Registry("architecture", load=_load)
NAMED_MODELS: Registry[NamedModel] = Registry("model", load=_load)


def build_backbone(
    backbone: Callable[..., nn.Module],
    config: Any,
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
    changes, mixer_options = _split(options, config, mixer, architecture)
    config = dataclasses.replace(config, **changes)
    model: Any = backbone(mixer, config, **{**preset, **mixer_options})
    if not mixer.any_size:
        model.only_size = (mixer.name, config.img_size)
    return cast(nn.Module, model)


def _split(
    options: Mapping[str, Any], config: Any, mixer: MixerEntry, architecture: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A model's options as (changes to the backbone's config, options of the mixer).

    A single number for `img_size` stands for a square; `img_size=None` leaves it as it is.
    """
    fields = [field.name for field in dataclasses.fields(config)]
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
