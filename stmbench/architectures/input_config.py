"""How a module that is given as an object wants its images, from whatever it brings to say so."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from torch import nn

from stmbench.errors import ConfigError

IMAGENET: Final = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean, standard deviation
_DEFAULTS = {
    "input_size": (224, 224),
    "mean": IMAGENET[0],
    "std": IMAGENET[1],
    "interpolation": "bicubic",
}
_NO_CROP = 32  # pixels a side: images as small as this are not cropped


def input_config(module: nn.Module, transforms: Any, said: Mapping[str, Any]) -> dict[str, Any]:
    """`input_size` (H, W), `mean`, `std`, `interpolation` and `crop_pct` of a module.

    Args:
        transforms: torchvision's `weights.transforms()`, a Hugging Face image processor, or None.
        said: those of the five that the user gave; None elsewhere. They win over `transforms`, which win over the
            module's own config (timm's `pretrained_cfg`, Hugging Face's `config`), which wins over ImageNet's.

    Raises:
        ConfigError: transforms that do not say what they do.
    """
    config = {**_DEFAULTS, **_of_config(module), **_of_transforms(transforms)}
    config |= {key: value for key, value in said.items() if value is not None}
    size = config["input_size"]
    config["input_size"] = size = (size, size) if isinstance(size, int) else tuple(size)
    config.setdefault("crop_pct", 0.875 if min(size) > _NO_CROP else 1.0)
    return config


def timm_config(module: nn.Module) -> dict[str, Any]:
    """timm's description of a model; empty for others."""
    found = getattr(module, "pretrained_cfg", None) or getattr(module, "default_cfg", None) or {}
    if dataclasses.is_dataclass(found) and not isinstance(found, type):
        return dataclasses.asdict(found)
    return dict(found) if isinstance(found, Mapping) else {}


def patch_size_of(module: nn.Module) -> tuple[int, int] | None:
    """(y, x) of a network of patches, as timm, torchvision and Hugging Face say it."""
    holders = (getattr(module, "patch_embed", None), module, getattr(module, "config", None))
    sizes = [size for holder in holders if (size := _side(getattr(holder, "patch_size", None))) is not None]
    return None if not sizes else (sizes[0], sizes[0]) if isinstance(sizes[0], int) else sizes[0]


def _of_config(module: nn.Module) -> dict[str, Any]:
    timms = timm_config(module)
    found = {key: timms[key] for key in ("mean", "std", "interpolation", "crop_pct") if timms.get(key) is not None}
    built_for = (  # timm's networks of patches, torchvision's, Hugging Face's
        getattr(getattr(module, "patch_embed", None), "img_size", None),
        getattr(module, "image_size", None),
        getattr(getattr(module, "config", None), "image_size", None),
        tuple(timms.get("input_size") or ())[1:],
    )
    sizes = [size for size in map(_side, built_for) if size is not None]
    return {**found, **({"input_size": sizes[0]} if sizes else {})}


def _of_transforms(transforms: Any) -> dict[str, Any]:
    if transforms is None:
        return {}
    mean, std = (
        getattr(transforms, name, None) or getattr(transforms, f"image_{name}", None) for name in ("mean", "std")
    )
    crop, resize = (_side(getattr(transforms, name, None)) for name in ("crop_size", "resize_size"))
    size = crop or _side(getattr(transforms, "size", None))
    if not mean or not std or size is None:
        remedy = "give input_size, mean and std instead"
        raise ConfigError("torchvision's weights.transforms() or an image processor", type(transforms).__name__, remedy)
    found: dict[str, Any] = {"mean": tuple(map(float, mean)), "std": tuple(map(float, std)), "input_size": size}
    interpolation = getattr(getattr(transforms, "interpolation", None), "value", None)
    found |= {} if interpolation is None else {"interpolation": interpolation}
    side = min(size) if isinstance(size, tuple) else size
    of = None if resize is None else min(resize) if isinstance(resize, tuple) else resize
    found["crop_pct"] = side / of if of else 1.0  # a processor resizes to the size that the model wants
    return found


def _side(value: Any) -> int | tuple[int, int] | None:
    """A size in torchvision's way ([224], 224, (H, W)) or Hugging Face's ({'height': ..., 'width': ...})."""
    if isinstance(value, Mapping):
        if "shortest_edge" in value:
            return int(value["shortest_edge"])
        return (int(value["height"]), int(value["width"])) if {"height", "width"} <= set(value) else None
    if isinstance(value, tuple | list) and value:
        return int(value[0]) if len(value) == 1 else (int(value[0]), int(value[1]))
    return value if isinstance(value, int) else None
