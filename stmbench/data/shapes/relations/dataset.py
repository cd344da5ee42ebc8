"""`shapes[relation=...]` as an image set."""

from __future__ import annotations

import numpy as np
import PIL
from PIL import Image

from stmbench.data.image_set import ImageSet, Labels, digest
from stmbench.data.shapes.dataset import COUNTS, LARGEST, check_split, place
from stmbench.data.shapes.relations.catalog import ROUND, VERSION, RelationScene, relation_named, relation_scene
from stmbench.errors import ConfigError

SMALLEST = 96  # below it, the windows of stem and transitions would hold both parts of a relation


class RelationalShapes(ImageSet):
    """Pictures of two classes that are a relation between distant parts.

    Args:
        relation: a name of `catalog.RELATIONS`.
        split: train, val or test, which never meet: rounds of four pictures go to each in turn.
        seed: of every picture.
        size: side in pixels.
        count: how many pictures.

    Raises:
        UnknownNameError: another relation. ConfigError: another split or size.
    """

    embedded = True

    def __init__(self, *, relation: str, split: str = "test", seed: int = 0, size: int = 96, count: int = 0) -> None:
        check_split(split)
        self.classes: tuple[str, ...] = relation_named(relation).classes
        self.name = f"shapes[relation={relation}]"
        if not SMALLEST <= size <= LARGEST:
            remedy = f"write shapes[relation={relation},size={SMALLEST}]"
            raise ConfigError(f"a size of {self.name} from {SMALLEST} to {LARGEST}", repr(size), remedy)
        self.relation, self.split, self.seed, self.size = relation, split, seed, size
        self.count = count or COUNTS[split]

    def __len__(self) -> int:
        return self.count

    def scene(self, index: int) -> RelationScene:
        """The picture with the plan that it was drawn from."""
        return relation_scene(self.seed, place(index, self.split, ROUND), self.size, self.relation)

    def read(self, index: int) -> tuple[Image.Image, int | None]:
        """See `ImageSet.read`."""
        found = self.scene(index)
        return Image.fromarray(found.image), found.plan.label

    def labels(self) -> Labels:
        """(len,) labels: the classes in turn."""
        return np.arange(self.count, dtype=np.int64) % len(self.classes)

    def fingerprint(self) -> str:
        """Of what the pictures are a function of; Pillow draws them, so its version counts."""
        return digest([VERSION, self.relation, self.split, self.seed, self.size, PIL.__version__])
