"""Models of the audit, made without numbers, and their counts, each made once."""

from __future__ import annotations

import functools
from typing import Any

from stmbench.architectures.catalog import create_model
from stmbench.architectures.meta_device import on_meta_device
from stmbench.measure.counting import Counts, count

MIXERS = ("halo_attn", "sr_attn", "sw_attn", "dw_conv", "dcnv3")
SCALES = ("micro", "tiny", "small", "base")


def built(mixer: str, scale: str) -> Any:
    """A model with numbers."""
    return create_model(f"unified_{mixer}_{scale}")


@functools.cache
def without_numbers(mixer: str, scale: str, **options: Any) -> Any:
    """The same on the meta device: nothing is initialised."""
    with on_meta_device():
        return create_model(f"unified_{mixer}_{scale}", **options)


@functools.cache
def counted(mixer: str, scale: str, height: int, width: int, **options: Any) -> Counts:
    """Counts by part of a whole model."""
    model = without_numbers(mixer, scale, **options)
    return count(model, (3, height, width), parts=model.parts)
