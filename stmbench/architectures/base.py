"""The registries of architectures, which any mixer plugs into, and of models with names of their own.

An architecture turns a mixer and a scale into a model called `<architecture>_<mixer>_<scale>`. Models that papers
released under other names (`cotnet50`) are registered alongside them, under those names.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from stmbench.registry import Registry

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
