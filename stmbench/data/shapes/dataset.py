"""`shapes` as an image set: figures of twelve classes, or two classes of a relation (`shapes[relation=...]`)."""

from __future__ import annotations

import numpy as np
import PIL
from PIL import Image

from stmbench.data.image_set import ImageSet, Labels, digest
from stmbench.data.shapes.outlines import CLASSES
from stmbench.data.shapes.relations import RELATIONS_VERSION, ROUND, RelationScene, relation_named, relation_scene
from stmbench.data.shapes.scene import Scene, scene
from stmbench.errors import ConfigError

VERSION = "shapes.v1"  # increase it if any picture changes
PLAIN_VERSION, ICON_VERSION = "shapes.plain.v1", "shapes.icon.v1"
SPLITS = ("train", "val", "test")
SMALLEST, LARGEST = 16, 1024
RELATION_SMALLEST = 96  # below it the windows of stem and transitions would contain both parts of a relation
COUNTS = {"train": 12_000, "val": 1_200, "test": 1_200}


def open_shapes(
    *,
    split: str = "test",
    seed: int = 0,
    size: int | None = None,
    count: int = 0,
    plain: int = 0,
    icon: int = 0,
    relation: str | None = None,
) -> ImageSet:
    """`RelationalShapes` if there is a relation, otherwise `Shapes`; None and 0 stand for their defaults."""
    if relation is None:
        return Shapes(split=split, seed=seed, size=64 if size is None else size, count=count, plain=plain, icon=icon)
    for name, value in (("plain", plain), ("icon", icon)):
        if value:
            got = f"shapes[relation={relation},{name}={value}]"
            raise ConfigError(f"{name} without a relation", got, "leave one out")
    return RelationalShapes(relation=relation, split=split, seed=seed, size=96 if size is None else size, count=count)


class Shapes(ImageSet):
    """Pictures of twelve classes of figures.

    Args:
        split: train, val or test. Rounds through the classes go to each split in turn, so the splits are disjoint,
            however many pictures are requested.
        seed: of all pictures.
        size: side in pixels.
        count: number of pictures; 0 for the default of the split.
        plain: 1 leaves out clutter, textures and noise, and is learned sooner.
        icon: 1 shows one large figure in the middle, light on dark in any two hues, so that most of its crops
            show the class: for learning without labels.
    """

    classes: tuple[str, ...] = CLASSES
    embedded = True

    def __init__(
        self, *, split: str = "test", seed: int = 0, size: int = 64, count: int = 0, plain: int = 0, icon: int = 0
    ) -> None:
        check_split(split)
        if not SMALLEST <= size <= LARGEST:
            raise ConfigError(f"a size of shapes from {SMALLEST} to {LARGEST}", repr(size), "write shapes[size=64]")
        for name, value in (("plain", plain), ("icon", icon)):
            if value not in (0, 1):
                raise ConfigError(f"{name}=0 or {name}=1 for shapes", repr(value), f"write shapes[{name}=1]")
        if plain and icon:
            raise ConfigError("plain or icon for shapes", "both", "leave plain out: icons are plain")
        self.name = "shapes[plain=1]" if plain else "shapes[icon=1]" if icon else "shapes"
        self.split, self.seed, self.size, self.count = split, seed, size, count or COUNTS[split]
        self.plain, self.icon = bool(plain), bool(icon)

    def __len__(self) -> int:
        return self.count

    def scene(self, index: int) -> Scene:
        """The picture with its boxes and masks."""
        return scene(self.seed, self._place(index), self.size, plain=self.plain, icon=self.icon)

    def read(self, index: int) -> tuple[Image.Image, int | None]:
        """See `ImageSet.read`."""
        picture = self.scene(index)
        return Image.fromarray(picture.image), picture.label

    def labels(self) -> Labels:
        """(len,) labels; the classes take turns."""
        return np.arange(self.count, dtype=np.int64) % len(CLASSES)

    def fingerprint(self) -> str:
        """Hash of everything the pictures depend on, including the version of Pillow, which draws them."""
        kind = [PLAIN_VERSION] if self.plain else [ICON_VERSION] if self.icon else []
        return digest([VERSION, self.split, self.seed, self.size, PIL.__version__, *kind])

    def _place(self, index: int) -> int:
        return index_in_all_splits(index, self.split, len(CLASSES))


class RelationalShapes(ImageSet):
    """Pictures of two classes that depend on a relation between distant parts.

    Args:
        relation: a name in `RELATIONS`.
        split: train, val or test. Rounds of four pictures go to each split in turn, so the splits are disjoint.
        seed: of all pictures.
        size: side in pixels.
        count: number of pictures; 0 for the default of the split.

    Raises:
        UnknownNameError: an unknown relation. ConfigError: an invalid split or size.
    """

    embedded = True

    def __init__(self, *, relation: str, split: str = "test", seed: int = 0, size: int = 96, count: int = 0) -> None:
        check_split(split)
        self.classes: tuple[str, ...] = relation_named(relation).classes
        self.name = f"shapes[relation={relation}]"
        if not RELATION_SMALLEST <= size <= LARGEST:
            remedy = f"write shapes[relation={relation},size={RELATION_SMALLEST}]"
            raise ConfigError(f"a size of {self.name} from {RELATION_SMALLEST} to {LARGEST}", repr(size), remedy)
        self.relation, self.split, self.seed, self.size = relation, split, seed, size
        self.count = count or COUNTS[split]

    def __len__(self) -> int:
        return self.count

    def scene(self, index: int) -> RelationScene:
        """The picture, and the plan that it was drawn from."""
        return relation_scene(self.seed, index_in_all_splits(index, self.split, ROUND), self.size, self.relation)

    def read(self, index: int) -> tuple[Image.Image, int | None]:
        """See `ImageSet.read`."""
        picture = self.scene(index)
        return Image.fromarray(picture.image), picture.plan.label

    def labels(self) -> Labels:
        """(len,) labels; the classes take turns."""
        return np.arange(self.count, dtype=np.int64) % len(self.classes)

    def fingerprint(self) -> str:
        """Hash of everything the pictures depend on, including the version of Pillow, which draws them."""
        return digest([RELATIONS_VERSION, self.relation, self.split, self.seed, self.size, PIL.__version__])


def index_in_all_splits(index: int, split: str, period: int) -> int:
    """The index over all splits of a picture of one split: rounds of `period` pictures go to each split in turn."""
    turn, rest = divmod(index, period)
    return (turn * len(SPLITS) + SPLITS.index(split)) * period + rest


def check_split(split: str) -> None:
    """Raise ConfigError for an unknown split of shapes."""
    if split not in SPLITS:
        raise ConfigError(f"a split of shapes ({', '.join(SPLITS)})", repr(split), "change --split")
