"""The architectures that a mixer can be plugged into, and how each turns a mixer and a scale into a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from torch import nn

from stmbench.mixers.base import MixerEntry
from stmbench.registry import Registry

Builder = Callable[..., nn.Module]  # (mixer, scale, **options) -> model


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArchitectureEntry:
    """What the registry knows about an architecture."""

    name: str
    title: str
    citation: str
    build: Builder
    default_size: Callable[[str], int]  # scale -> side of the images it was designed for


def _load() -> None:
    from stmbench.architectures import unified_models  # noqa: F401


ARCHITECTURES: Registry[ArchitectureEntry] = Registry("architecture", load=_load)


def build(architecture: str, mixer: MixerEntry, scale: str, **options: Any) -> nn.Module:
    """A model with random weights. Raises ConfigError for an option that neither the architecture nor the mixer has."""
    return ARCHITECTURES.get(architecture).build(mixer, scale, **options)
