"""`open_detection_set` opens a detection set by name (shapes) or by the path of a COCO folder or file."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from stmbench.errors import ConfigError, InputError, UnknownNameError
from stmbench.tables.object_storage import is_address

if TYPE_CHECKING:
    from stmbench.data.detection.detection_set import DetectionSet

__all__ = ["EMBEDDED", "open_detection_set"]

# name -> module and factory, imported on demand
EMBEDDED = {"shapes": ("stmbench.data.detection.shapes", "DetectionShapes")}
_NAME = re.compile(r"^(?P<name>\w+)(\[(?P<options>[^\]]*)\])?$")
_OPTIONS = ("size", "count", "classes", "plain")


def open_detection_set(
    name_or_path: str, *, split: str = "test", seed: int = 0, limit_corrupt: int = 10
) -> DetectionSet:
    """A detection set.

    Args:
        name_or_path: shapes, with options in brackets (`shapes[size=128,count=600]`); or the path of a folder or file
            in COCO's format, see `coco`, or its address (s3://bucket/coco); or torchvision:VOCDetection:ROOT; or a name
            of `detection_name_of`.
        split: train, val, test; on disk 'test' also matches 'val' or 'validation', and the set keeps that name.
        seed: of generated sets (shapes).
        limit_corrupt: annotations that may be left out because they are corrupt.

    Raises:
        UnknownNameError: neither a set nor a path, or an option that the set does not have.
        ConfigError: a split that the set does not have.
        InputError: nothing usable at the path, or more than `limit_corrupt` corrupt annotations.
    """
    if is_address(name_or_path):
        from stmbench.data.downloads import downloaded

        name_or_path = downloaded(name_or_path, split)
    if name_or_path.startswith(("given:", "torchvision:")):
        from stmbench.data.detection import torchvision_sets

        if name_or_path.startswith(torchvision_sets.NAMED):
            return torchvision_sets.open_torchvision(name_or_path, split, limit_corrupt)
        return torchvision_sets.open_given_objects(name_or_path, split)
    match = _NAME.match(name_or_path.strip())
    if match and match["name"] in EMBEDDED:
        options = _options(match["name"], match["options"] or "")
        module, factory = EMBEDDED[match["name"]]
        found: DetectionSet = getattr(importlib.import_module(module), factory)(split=split, seed=seed, **options)
        return found
    path = Path(name_or_path).expanduser()
    if path.exists():
        from stmbench.data.detection.coco import open_coco

        return open_coco(path.resolve(), split, limit_corrupt)
    if re.search(r"[/\\.]", name_or_path):
        remedy = f"correct the path, or use one of {', '.join(EMBEDDED)}"
        raise InputError("a detection set's name or path", f"{name_or_path!r}, where there is nothing", remedy)
    raise UnknownNameError("detection set or a path to one", name_or_path, EMBEDDED)


def _options(name: str, text: str) -> dict[str, int]:
    options = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, _, value = (word.strip() for word in part.partition("="))
        if key not in _OPTIONS:
            raise UnknownNameError(f"option of {name} for detection", key, _OPTIONS)
        if not re.fullmatch(r"\d+", value):
            raise ConfigError(f"a whole number for {name}'s {key}", repr(value), f"write {name}[{key}=128]")
        options[key] = int(value)
    return options
