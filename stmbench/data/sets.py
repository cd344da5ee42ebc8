"""`open_set` opens an image set by name (digits, photos, shapes) or path. What is at a path decides its kind.

a Hugging Face data set saved to disk      dataset_dict.json or state.json in the folder
ImageNet's lists                           meta/val.txt alongside val/; the path of the list works too
shards in tar or Parquet                   a file, a pattern (val-*.tar, val-{000..009}.tar), a folder of them
an ImageFolder tree                        a folder per class, optionally within a folder per split
a flat folder                              images without labels, unless there is a label table
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import re
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, get_args, get_type_hints

from stmbench.errors import ConfigError, InputError, UnknownNameError
from stmbench.tables.object_storage import is_address

if TYPE_CHECKING:
    from stmbench.data.image_set import ImageSet

__all__ = ["EMBEDDED", "IMAGES", "OpenedSets", "open_set", "opened_once"]

# name -> module and factory; imported on demand, since some need an extra
EMBEDDED: Mapping[str, tuple[str, str]] = {
    "digits": ("stmbench.data.embedded", "Digits"),
    "photos": ("stmbench.data.embedded", "Photos"),
    "shapes": ("stmbench.data.shapes.dataset", "open_shapes"),
}
# name -> split -> images, for a plan, which opens no set
IMAGES: Mapping[str, Mapping[str, int]] = {
    "digits": {"train": 1442, "test": 355},
    "photos": {"test": 700},
    "shapes": {"train": 12_000, "val": 1_200, "test": 1_200},
}
KEPT = 16  # sets that `opened_once` keeps: each seed has its own
OpenedSets: TypeAlias = "dict[tuple[object, ...], ImageSet]"  # by what was asked for
_KEPT: ContextVar[OpenedSets | None] = ContextVar("kept", default=None)
_NAME = re.compile(r"^(?P<name>\w+)(\[(?P<options>[^\]]*)\])?$")


def is_embedded(name_or_path: str) -> bool:
    """Whether it names a set that comes with stmbench, with or without options."""
    match = _NAME.match(name_or_path)
    return match is not None and match["name"] in EMBEDDED and not Path(name_or_path).exists()


def open_set(
    name_or_path: str,
    *,
    split: str = "test",
    seed: int = 0,
    classes: str | None = None,
    labels: Path | None = None,
) -> ImageSet:
    """An image set.

    Args:
        name_or_path: digits, photos or shapes, with options in brackets (`shapes[relation=same,count=6000]`); or a
            path, as listed above; or the address of one (s3://bucket/imagenet).
        split: train, test, ...; on disk 'test' also matches 'val' or 'validation', and the set keeps that name.
        seed: of generated sets (shapes).
        classes: a file, or one of `class_maps.WORDS`, that maps the classes to outputs of a model.
        labels: a CSV file with the labels of the images in a folder.

    Raises:
        UnknownNameError: neither a set nor a path, or an option that the set does not have.
        ConfigError: a split that the set does not have.
        InputError: nothing usable at the path, labels or classes that do not fit, or a missing extra.
    """
    if is_address(name_or_path):
        from stmbench.data.downloads import downloaded

        name_or_path = downloaded(name_or_path, split)
    kept = _KEPT.get()
    asked = name_or_path, split, seed if kept is None or _is_generated(name_or_path) else None, labels
    image_set = None if kept is None else kept.get(asked)
    if image_set is None:
        image_set = _opened(name_or_path, split, seed, labels)
        if kept is not None:
            if len(kept) >= KEPT:
                del kept[next(iter(kept))]
            kept[asked] = image_set
    if classes is None:
        return image_set
    from stmbench.data.class_maps import class_map, mapped

    return mapped(image_set, class_map(classes))


@contextlib.contextmanager
def opened_once(opened: OpenedSets | None = None) -> Iterator[None]:
    """Keep sets open within the block, for whoever asks thousands of tasks what they are; files must not change.

    Args:
        opened: of earlier blocks, which this one goes on with.
    """
    token = _KEPT.set({} if opened is None else opened)
    try:
        yield
    finally:
        _KEPT.reset(token)


def _is_generated(name: str) -> bool:
    """Whether the images depend on a seed."""
    place = EMBEDDED.get(name.strip().partition("[")[0])
    return place is not None and "seed" in _parameters(*place)


def _opened(name_or_path: str, split: str, seed: int, labels: Path | None) -> ImageSet:
    if name_or_path.startswith("given:"):
        from stmbench.data.given_images import open_given

        if labels is not None:
            raise ConfigError("--labels with a folder of images", name_or_path, "give labels with the images")
        return open_given(name_or_path, split)
    match = _NAME.match(name_or_path.strip())
    if match and match["name"] in EMBEDDED:
        if labels is not None:
            raise ConfigError("--labels with a folder of images", name_or_path, "leave --labels out")
        return _embedded(match["name"], match["options"] or "", split, seed)
    image_set = _open_path(name_or_path, split, labels)
    if image_set is None:
        if re.search(r"[/\\.*]", name_or_path):
            remedy = f"correct the path, or use one of {', '.join(EMBEDDED)}"
            raise InputError("a data set's name or path", f"{name_or_path!r}, where there is nothing", remedy)
        raise UnknownNameError("data set or a path to one", name_or_path, EMBEDDED)
    return image_set


def _open_path(text: str, split: str, labels: Path | None) -> ImageSet | None:
    """The image set at a path or pattern; None if nothing is there. `labels` is a label table for a folder.

    Raises:
        InputError: not an image set, or it does not have the split.
    """
    from stmbench.data import hugging_face, image_folders, parquet, shard_files, tar_shards

    shards = {".tar": tar_shards.open_shards, ".parquet": parquet.open_parquet}
    for suffix, open_shards in shards.items():
        if files := shard_files.matching_shards(text, suffix):
            if labels is not None:
                raise ConfigError("--labels with a folder of images", Path(text).name, "leave --labels out")
            return open_shards(files)
    path = Path(text).expanduser()
    if not path.exists():
        return None
    path = path.resolve()  # gives '.' and 'x/..' a name
    if path.is_file() and path.suffix == ".txt" and labels is None:
        return image_folders.open_list(path)
    if not path.is_dir():
        expected = "a folder, a .tar or .parquet file, or a list of images (.txt)"
        raise InputError(expected, path.name, "correct --dataset")
    if labels is not None:
        return image_folders.open_table(path, labels.expanduser(), split)
    if hugging_face.is_saved_dataset(path):
        return hugging_face.open_saved(path, split)
    lists = image_folders.lists_in(path)
    if lists:
        return image_folders.open_list(image_folders.pick_list(path, lists, split))
    for suffix, open_shards in shards.items():
        files = shard_files.shards_in_folder(path, split, suffix)
        # beside class folders a table is about their images
        if files and not (suffix == ".parquet" and image_folders.has_class_folders(files[0].parent)):
            return open_shards(files)
    return image_folders.open_folder(path, split)


@functools.cache
def _parameters(module: str, attribute: str) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(getattr(importlib.import_module(module), attribute)).parameters


def _embedded(name: str, text: str, split: str, seed: int) -> ImageSet:
    module, attribute = EMBEDDED[name]
    factory = getattr(importlib.import_module(module), attribute)
    parameters = _parameters(module, attribute)
    hints = get_type_hints(factory.__init__ if inspect.isclass(factory) else factory)
    known = [option for option in parameters if option not in ("split", "seed")]
    options: dict[str, Any] = {"seed": seed} if "seed" in parameters else {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, _, value = (word.strip() for word in part.partition("="))
        if key not in known:
            raise UnknownNameError(f"option of {name}", key, known)
        options[key] = value if str in (hints[key], *get_args(hints[key])) else _whole(name, key, value)
    image_set: ImageSet = factory(split=split, **options)
    return image_set


def _whole(name: str, key: str, value: str) -> int:
    if not re.fullmatch(r"\d+", value):
        raise ConfigError(f"a whole number for {name}'s {key}", repr(value), f"write {name}[{key}=64]")
    return int(value)
