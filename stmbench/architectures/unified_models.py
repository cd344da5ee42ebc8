"""The unified architecture's models: a mixer's preset at a scale, with the options that a caller changes."""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import nn

from stmbench.architectures.base import ARCHITECTURES, ArchitectureEntry
from stmbench.architectures.unified import Unified
from stmbench.architectures.unified_config import UnifiedConfig
from stmbench.errors import ConfigError
from stmbench.mixers.base import MixerEntry

ARCHITECTURE_OPTIONS = tuple(field.name for field in dataclasses.fields(UnifiedConfig))


def default_size(scale: str) -> int:
    """224, and 32 for the nano models, whose windows and strides are made for it."""
    return 32 if scale == "nano" else 224


def build_unified(mixer: MixerEntry, scale: str, **options: Any) -> nn.Module:
    """A `Unified` model: fields of `UnifiedConfig` go to the architecture, the others to the mixer.

    Raises:
        ConfigError: an option that neither has, or a value that one of them refuses.
    """
    preset = mixer.preset(scale)
    known = mixer.options()
    for key in options:
        if key not in ARCHITECTURE_OPTIONS and key not in known:
            names = ", ".join([*ARCHITECTURE_OPTIONS, *known])
            raise ConfigError(f"an option of unified_{mixer.name} ({names})", repr(key), "remove or rename it")
    changes = {key: value for key, value in options.items() if key in ARCHITECTURE_OPTIONS}
    side = changes.get("img_size") or default_size(scale)
    changes["img_size"] = (side, side) if isinstance(side, int) else tuple(side)
    mixer_options = {**preset.options, **{k: v for k, v in options.items() if k not in ARCHITECTURE_OPTIONS}}
    return Unified(mixer, UnifiedConfig.of(preset, **changes), **mixer_options)


ARCHITECTURES.register(
    "unified",
    ArchitectureEntry(
        name="unified",
        title="Unified architecture",
        citation="Hu et al., Demystify Transformers & Convolutions in Modern Image Deep Networks",
        build=build_unified,
        default_size=default_size,
        mixers=("halo_attn", "sr_attn", "sw_attn", "dw_conv", "dcnv3"),
    ),
)
