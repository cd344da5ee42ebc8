"""The registry of detectors, their options, and how `<kind>:<backbone>` is built.

Every detector follows torchvision's calling convention. In training, `detector(images, targets)` returns a dict of
losses; in eval mode, `detector(images)` returns for each image a dict of `boxes` (n, 4) as x1, y1, x2, y2 in pixels of
the image that was given, `scores` (n,), `labels` (n,) from 1 and, where `has_masks`, `masks` (n, 1, H, W). Images are a
list of (3, H, W) in [0, 1]; the detector resizes, normalises and pads them itself.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal, Protocol

from torch import Tensor, nn

from stmbench.architectures.base import REMEDY
from stmbench.errors import ConfigError, require, require_finite
from stmbench.registry import Registry

MODULES = ("region_based", "retinanet", "detr", "smca")  # each registers detectors
PATCH: Final = 32  # images are padded to multiples of it
Heads = Literal["torchvision", "mmdet"]
TrunkForm = Literal["authors", "classification"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """Options besides the backbone's.

    Attributes:
        num_classes: without the background.
        min_size: of an image's shorter side, in pixels after resizing.
        max_size: the most that the longer side may have.
        trunk: how the backbone is attached (see `trunk`).
        width: channels of what follows the backbone; a box head's hidden layers have four times as many.
    """

    num_classes: int = 80
    min_size: int = 800
    max_size: int = 1333
    trunk: TrunkForm = "authors"
    width: int = 256

    def __post_init__(self) -> None:
        require_finite({field.name: getattr(self, field.name) for field in dataclasses.fields(self)}, REMEDY)
        require(self.num_classes >= 1, "num_classes >= 1", self.num_classes, REMEDY)
        require(self.min_size >= PATCH, f"min_size >= {PATCH}", self.min_size, REMEDY)
        require(self.max_size >= self.min_size, f"max_size >= min_size {self.min_size}", self.max_size, REMEDY)
        forms = ("authors", "classification")
        require(self.trunk in forms, "trunk authors or classification", self.trunk, REMEDY)
        require(self.width >= 1, "width >= 1", self.width, REMEDY)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnchorConfig(DetectorConfig):
    """Options of a detector with anchors on the levels of a pyramid.

    Attributes:
        heads: `torchvision`'s own, or as those of `mmdet` (see `regions`).
        anchor_size: side in pixels of the smallest anchors, those of the pyramid's first level.
    """

    heads: Heads = "torchvision"
    anchor_size: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.heads in ("torchvision", "mmdet"), "heads torchvision or mmdet", self.heads, REMEDY)
        require(self.anchor_size >= 1, "anchor_size >= 1", self.anchor_size, REMEDY)


class Detector(Protocol):
    """What every detector has besides `forward` (see the module's docstring).

    Attributes:
        num_classes: without the background.
        has_masks: whether it predicts masks, and wants them in the targets.
        backbone: images (B, 3, H, W) -> the maps that the heads take.
        trunk: the classification model inside the backbone.
    """

    num_classes: int
    has_masks: bool
    backbone: nn.Module

    @property
    def trunk(self) -> nn.Module:
        """The classification model inside the backbone."""

    def __call__(self, images: list[Tensor], targets: list[dict[str, Any]] | None = None) -> Any:
        """Losses by name in training, detections of each image in eval mode."""


def side_options(resolution: int | tuple[int, int]) -> dict[str, int]:
    """A detector's options for images of this size: the shorter side, and the longer one where it is another."""
    shorter, longer = (resolution, resolution) if isinstance(resolution, int) else sorted(resolution)
    return {"min_size": shorter, **({"max_size": longer} if longer > shorter else {})}


def sides_of(detector: nn.Module) -> tuple[int, int]:
    """(shorter, longer) side, in pixels, that a detector resizes images to in an evaluation."""
    transform: Any = detector.transform
    return int(transform.min_size[-1]), int(transform.max_size)


def set_sides(detector: nn.Module, size: tuple[int, int]) -> None:
    """From now on a detector leaves images of this (height, width) at their size, in training too."""
    transform: Any = detector.transform
    transform.min_size, transform.max_size = (min(size),), max(size)


@contextlib.contextmanager
def at_sides(detector: nn.Module, sides: tuple[int, int]) -> Iterator[None]:
    """Meanwhile the detector resizes images to other (shorter, longer) sides."""
    transform: Any = detector.transform
    before = transform.min_size, transform.max_size
    set_sides(detector, sides)
    try:
        yield
    finally:
        transform.min_size, transform.max_size = before


def resized(image: Tensor, sides: tuple[int, int]) -> Tensor:
    """(3, H, W) as a detector resizes it to (shorter, longer) sides: bilinear, not antialiased, as torchvision does."""
    scale = min(sides[0] / min(image.shape[-2:]), sides[1] / max(image.shape[-2:]))
    settings: dict[str, Any] = {"mode": "bilinear", "align_corners": False, "recompute_scale_factor": True}
    return nn.functional.interpolate(image[None], scale_factor=scale, **settings)[0]


def resized_size(size: tuple[int, int], sides: tuple[int, int]) -> tuple[int, int]:
    """(H, W) of an image of `size` after resizing to (shorter, longer) sides, by torchvision's rule."""
    scale = min(sides[0] / min(size), sides[1] / max(size))
    return int(size[0] * scale), int(size[1] * scale)


def padded(height: int, width: int) -> tuple[int, int]:
    """Height and width of the batch that an image of this size after resizing is in."""
    return math.ceil(height / PATCH) * PATCH, math.ceil(width / PATCH) * PATCH


@dataclasses.dataclass(frozen=True, kw_only=True)
class DetectorEntry:
    """What the registry knows about a kind of detector.

    Attributes:
        build: (creates the backbone's model from options of its own, config) -> detector.
        config: its options.
        has_masks: whether it predicts masks.
        packages: whose code is part of it.
    """

    name: str
    title: str
    citation: str
    build: Callable[[CreateBackbone, Any], nn.Module]
    config: type[DetectorConfig] = DetectorConfig
    has_masks: bool = False
    packages: tuple[str, ...] = ("torchvision",)

    def options(self) -> tuple[str, ...]:
        """Names of its options; those of the backbone are not among them."""
        return tuple(field.name for field in dataclasses.fields(self.config))


CreateBackbone = Callable[..., nn.Module]  # (**options) -> the classification model


def _load() -> None:
    for module in MODULES:
        importlib.import_module(f"stmbench.architectures.detectors.{module}")


DETECTORS: Registry[DetectorEntry] = Registry("detector", load=_load)
# of nano backbones, which are made for small images of few objects and trained from random weights; anchors keep their
# proportion to the strides, or regions would be cut out of maps with few cells in them
SMALL: Mapping[str, Any] = {
    **{"min_size": 128, "width": 32, "proposals": 50, "samples": 16, "positives": 0.5, "norm": "group"},
    **{"box_convs": 2, "queries": 30, "layers": 2, "attention_heads": 4, "dim_feedforward": 256},
}


def build_detector(kind: str, create: CreateBackbone, *, scale: str | None, options: Mapping[str, Any]) -> nn.Module:
    """A detector of a kind.

    Args:
        create: makes the backbone's classification model from options of its own.
        scale: the backbone's, which sets the default size of images.
        options: the detector's and the backbone's; what the detector does not have goes to the backbone.

    Raises:
        ConfigError: an option that neither has, a value that one refuses, or a backbone without the maps it needs.
    """
    entry = DETECTORS.get(kind)
    own = {**(SMALL if scale == "nano" else {}), **{k: v for k, v in options.items() if k in entry.options()}}
    if "min_size" in own and "max_size" not in options:
        require(isinstance(own["min_size"], int), "min_size in pixels", own["min_size"], REMEDY)
        own["max_size"] = round(own["min_size"] * DetectorConfig.max_size / DetectorConfig.min_size)
    try:
        config = entry.config(**{k: v for k, v in own.items() if k in entry.options()})
    except TypeError as error:  # a text where a number is compared
        raise ConfigError(f"options of {kind}", str(error), REMEDY) from error
    rest = {k: v for k, v in options.items() if k not in entry.options()}

    def with_rest(**more: Any) -> nn.Module:
        return create(**{**rest, **more})

    return entry.build(with_rest, config)
