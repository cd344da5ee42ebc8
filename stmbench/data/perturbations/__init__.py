"""Translated, rotated and scaled images: all levels are made from one decoded image, in batches, on the device.

A new perturbation is one file with a subclass of `Perturbation`, exported here.

base          the interface of a perturbation
rotation      about the centre of the crop, before or after the crop
crops         translation and scaling: another crop of the image
authors_code  all three as in Hu et al.'s code, with PIL

The classes are imported at their first use: a plan needs the words, and no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from stmbench.data.perturbations.authors_code import AuthorsRotation, AuthorsScaling, AuthorsTranslation
    from stmbench.data.perturbations.base import Perturbation, Source
    from stmbench.data.perturbations.crops import DIRECTIONS, Scaling, Translation
    from stmbench.data.perturbations.rotation import Rotation

__all__ = [
    "DIRECTIONS",
    "FILLS",
    "ORDERS",
    "AuthorsRotation",
    "AuthorsScaling",
    "AuthorsTranslation",
    "Fill",
    "Order",
    "Perturbation",
    "Rotation",
    "Scaling",
    "Source",
    "Translation",
]

Fill = Literal["none", "zeros", "reflect"]
FILLS: Final[tuple[Fill, ...]] = ("none", "zeros", "reflect")
Order = Literal["before", "after"]
ORDERS: Final[tuple[Order, ...]] = ("before", "after")
_HOMES = {
    **dict.fromkeys(("AuthorsRotation", "AuthorsScaling", "AuthorsTranslation"), "authors_code"),
    **dict.fromkeys(("Perturbation", "Source"), "base"),
    **dict.fromkeys(("DIRECTIONS", "Scaling", "Translation"), "crops"),
    "Rotation": "rotation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
