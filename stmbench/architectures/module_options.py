"""A module given as an object, with what has to be known of it beside its code."""

from __future__ import annotations

import dataclasses
import fnmatch
import re
from typing import Any, Final

from torch import nn

from stmbench.errors import ConfigError, UnknownNameError, require

LABEL: Final = re.compile(r"[\w.+-]+")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class GivenModel:
    """A module, and what has to be known of it beside its code.

    Attributes:
        module: (B, 3, H, W) -> logits (B, classes), or a tuple, dict or output object that holds them.
        name: what to call it; its timm name or its class's by default.
        input_size: a side, or (H, W), of its images; mean, std: of each channel; interpolation, crop_pct: as timm's.
            Those that are None are taken from `transforms`, the module's own config (timm's `pretrained_cfg`, Hugging
            Face's `config.image_size`), or are those of ImageNet at 224 pixels.
        transforms: torchvision's `weights.transforms()`, or a Hugging Face image processor.
        num_classes: of its logits; None asks the module.
        stage_modules: dotted paths of the modules whose outputs are the stages' maps.
        return_nodes: in place of them, nodes of its graph as in torchvision's `create_feature_extractor`.
        prefix_tokens: tokens before those of the map (class and register tokens); None works it out.
        mixer: pattern of the dotted paths of its mixers (`blocks.*.attn`), for their Jacobian affinity.

    Raises:
        ConfigError: a value that makes no sense, or a path that the module has not.
    """

    module: nn.Module
    name: str | None = None
    input_size: int | tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    interpolation: str | None = None
    crop_pct: float | None = None
    transforms: Any = None
    num_classes: int | None = None
    stage_modules: tuple[str, ...] = ()
    return_nodes: tuple[str, ...] = ()
    prefix_tokens: int | None = None
    mixer: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.module, nn.Module):
            raise ConfigError("a torch.nn.Module", type(self.module).__name__, "give the module, or a model's name")
        put = object.__setattr__
        put(self, "module", _unwrapped(self.module))
        for field in ("stage_modules", "return_nodes"):  # lists, and torchvision's dicts of node: label
            if isinstance(value := getattr(self, field), str):
                raise ConfigError(f"a list of names in {field}", repr(value), "put it into brackets")
            put(self, field, tuple(value))
        for field in ("mean", "std"):
            if (value := getattr(self, field)) is not None:
                put(self, field, tuple(map(float, value)))
                require(len(getattr(self, field)) == 3, f"a {field} for each of three channels", value)
        require(
            self.name is None or bool(LABEL.fullmatch(self.name)), "a name of letters, digits, . _ + and -", self.name
        )
        require(self.std is None or min(self.std) > 0, "a std above 0", self.std)
        require(self.num_classes is None or self.num_classes > 0, "a number of classes of at least 1", self.num_classes)
        require((self.prefix_tokens or 0) >= 0, "a number of prefix tokens of at least 0", self.prefix_tokens)
        require(self.crop_pct is None or self.crop_pct > 0, "a crop_pct above 0", self.crop_pct)
        size = (self.input_size,) if isinstance(self.input_size, int) else self.input_size or ()
        require(len(size) in (0, 1, 2) and all(side >= 1 for side in size), "a side, or (H, W)", self.input_size)
        if self.stage_modules and self.return_nodes:
            raise ConfigError("stage_modules or return_nodes", "both", "leave one of them out")
        paths = [path for path, _ in self.module.named_modules() if path]
        for path in self.stage_modules:
            if path not in paths:
                raise UnknownNameError(f"module of {type(self.module).__name__}", path, paths)
        if self.mixer is not None and not paths_of(self.module, self.mixer):
            got = f"{self.mixer!r}, which no path of {type(self.module).__name__} matches"
            raise ConfigError("a pattern of module paths like blocks.*.attn", got, "see named_modules() for the paths")


def paths_of(module: nn.Module, pattern: str) -> tuple[str, ...]:
    """Dotted paths that match a pattern part by part (`*` is any one part), in the module's order."""
    parts = pattern.split(".")

    def matches(path: str) -> bool:
        own = path.split(".")
        return len(own) == len(parts) and all(map(fnmatch.fnmatchcase, own, parts))

    return tuple(path for path, _ in module.named_modules() if path and matches(path))


def _unwrapped(module: nn.Module) -> nn.Module:
    """The module within torch.compile's or a data-parallel wrapper."""
    inner = getattr(module, "_orig_mod", module)
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    return inner.module if isinstance(inner, parallel) else inner
