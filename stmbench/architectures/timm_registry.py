"""Our model names in timm's registry, so that `timm.create_model("unified_halo_attn_tiny[halo=1]")` works.

timm knows no options in brackets: `timm_hook.accept_brackets` wraps what reads a name.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, cast

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, register_model
from torch import nn

from stmbench.architectures import timm_hook
from stmbench.architectures.base import ARCHITECTURES, NAMED_MODELS
from stmbench.errors import CheckpointError
from stmbench.mixers.base import MIXERS, SCALES

TIMM_OPTIONS = ("num_classes", "in_chans", "img_size", "features_only", "out_indices", "feature_cls", "pretrained_cfg",
                "pretrained_cfg_overlay", "cache_dir")  # fmt: skip
default_cfgs: dict[str, dict[str, Any]] = {}  # timm expects this name in a module that registers models
_registered: set[str] = set()


@functools.cache
def register_all() -> None:
    """Register every name with timm, now and as plug-ins add them, and let timm accept options in brackets."""
    timm_hook.accept_brackets(_has_brackets)
    MIXERS.subscribe(_register_mixer)
    for name in NAMED_MODELS:
        model = NAMED_MODELS.get(name)
        about = f"{name}: {model.mixer} in the {model.architecture} architecture."
        _register(name, model.build, about, _default_cfg(model.default_size, model.cfg))


def _register_mixer(mixer: str) -> None:
    for architecture in ARCHITECTURES:
        entry = ARCHITECTURES.get(architecture)
        for scale in SCALES:
            about = f"The {architecture} architecture with {mixer} at scale {scale}."
            cfg = _default_cfg(entry.default_size(scale), entry.cfg)
            _register(f"{architecture}_{mixer}_{scale}", _builder(architecture, mixer, scale), about, cfg)


def _register(name: str, build: Callable[..., nn.Module], about: str, cfg: dict[str, Any]) -> None:
    if name not in _registered:
        _registered.add(name)
        default_cfgs[name] = cfg
        register_model(_entry_point(name, build, about))


def _builder(architecture: str, mixer: str, scale: str) -> Callable[..., nn.Module]:
    # looked up at the call: a plug-in may have been registered again
    return lambda **options: ARCHITECTURES.get(architecture).build(MIXERS.get(mixer), scale, **options)


def _entry_point(name: str, build: Callable[..., nn.Module], about: str) -> Callable[..., nn.Module]:
    def entry_point(pretrained: bool = False, **options: Any) -> nn.Module:
        if pretrained:
            raise CheckpointError("pretrained=False", "pretrained=True", "load weights with stmbench.load_checkpoint")
        # a mixer's option may have the name of one of timm's own parameters, so only these go through its builder
        timms = {key: options.pop(key) for key in TIMM_OPTIONS if key in options}
        model: nn.Module = build_model_with_cfg(
            functools.partial(build, **options),
            name,
            pretrained=False,
            feature_cfg={"out_indices": (0, 1, 2, 3), "feature_cls": "getter"},
            **timms,
        )
        if timms.get("img_size") and hasattr(model, "pretrained_cfg"):  # a feature extractor has none
            # preprocessing follows the size that the model was designed for
            cfg: Any = {**cast(Any, model).pretrained_cfg, **_input(timms["img_size"])}
            model.pretrained_cfg = model.default_cfg = cfg
        return model

    entry_point.__name__ = entry_point.__qualname__ = name
    entry_point.__doc__ = about
    return entry_point


def _default_cfg(side: int, changes: Mapping[str, Any]) -> dict[str, Any]:
    """timm's description of a model, with the preprocessing of its images (Hu et al., Table IV)."""
    return {
        "num_classes": 1000,
        **_input(side),
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": "stem.conv1",
        "classifier": "head.fc",
        **changes,
    }


def _input(size: int | tuple[int, int]) -> dict[str, Any]:
    """timm's entries for an input of this size (a side, or H and W); small images are not cropped."""
    height, width = (size, size) if isinstance(size, int) else size
    return {
        "input_size": (3, height, width),
        "pool_size": (height // 32, width // 32),
        "crop_pct": 0.875 if min(height, width) > 32 else 1.0,
    }


def _has_brackets(name: str) -> bool:
    """Whether it is one of our names with options in brackets."""
    return "[" in name and name.partition("[")[0] in _registered
