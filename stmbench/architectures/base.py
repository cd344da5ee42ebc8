"""The architectures that a mixer can be plugged into, and the models that have a name of their own.

An architecture turns a mixer and a scale into a model called `<architecture>_<mixer>_<scale>`. Models that papers
released under names of their own (`cotnet50`) are registered beside them, under these names.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from stmbench.registry import Registry

Builder = Callable[..., nn.Module]  # (MixerEntry, scale, **options) -> model


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArchitectureEntry:
    """What the registry knows about an architecture.

    `mixers` are those it is compared with unless others are named; `cfg` are changes to timm's description of its
    models (`first_conv`, `classifier`, ...).
    """

    name: str
    title: str
    citation: str
    build: Builder
    default_size: Callable[[str], int]  # scale -> side of the images it was designed for
    mixers: tuple[str, ...]
    cfg: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NamedModel:
    """A model with a name of its own: `build(**options)` makes it, `mixer` is what it is known for."""

    name: str
    architecture: str
    mixer: str
    build: Callable[..., nn.Module]
    default_size: int = 224
    cfg: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def _load() -> None:
    for module in MODULES:
        importlib.import_module(f"stmbench.architectures.{module}")


MODULES = (
    "unified_models",
    "container_models",
    "cotnet_models",
    "isotropic_models",
)  # each registers architectures, named models, or both
ARCHITECTURES: Registry[ArchitectureEntry] = Registry("architecture", load=_load)
NAMED: Registry[NamedModel] = Registry("model", load=_load)
