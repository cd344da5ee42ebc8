"""Our model names in timm's registry, so that `timm.create_model("unified_halo_attn_tiny")` works."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, register_model
from torch import nn

from stmbench.architectures.base import ARCHITECTURES, build
from stmbench.errors import CheckpointError
from stmbench.mixers.base import MIXERS, SCALES

TIMM_OPTIONS = (
    *("num_classes", "in_chans", "img_size"),
    *("features_only", "out_indices", "feature_cls"),
    *("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"),
)
default_cfgs: dict[str, dict[str, Any]] = {}  # timm looks this name up in the module that registers a model
_registered: set[str] = set()


@functools.cache
def register_all() -> None:
    """Tell timm every name there is, and every one that is registered later (a plug-in's)."""
    MIXERS.subscribe(_register_mixer)


def _register_mixer(mixer: str) -> None:
    for architecture in ARCHITECTURES:
        for scale in SCALES:
            name = f"{architecture}_{mixer}_{scale}"
            if name not in _registered:
                _registered.add(name)
                default_cfgs[name] = _default_cfg(ARCHITECTURES.get(architecture).default_size(scale))
                register_model(_entry_point(name, architecture, mixer, scale))


def _entry_point(name: str, architecture: str, mixer: str, scale: str) -> Callable[..., nn.Module]:
    def entry_point(pretrained: bool = False, **options: Any) -> nn.Module:
        if pretrained:
            raise CheckpointError("pretrained=False", "pretrained=True", "load weights with stmbench.load_checkpoint")
        # a mixer's option may share its name with a parameter of timm's builder, so only timm's own go through it
        timms = {key: options.pop(key) for key in TIMM_OPTIONS if key in options}
        model: nn.Module = build_model_with_cfg(
            functools.partial(build, architecture, MIXERS.get(mixer), scale, **options),
            name,
            pretrained=False,
            feature_cfg={"out_indices": (0, 1, 2, 3), "feature_cls": "getter"},
            **timms,
        )
        return model

    entry_point.__name__ = entry_point.__qualname__ = name
    entry_point.__doc__ = f"The {architecture} architecture with {mixer} at scale {scale}."
    return entry_point


def _default_cfg(side: int) -> dict[str, Any]:
    """timm's description of a model: how its images are prepared (Hu et al., Table IV)."""
    return {
        "num_classes": 1000,
        "input_size": (3, side, side),
        "pool_size": (side // 32, side // 32),
        "crop_pct": 0.875 if side > 32 else 1.0,
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": "stem.conv1",
        "classifier": "head.fc",
    }
