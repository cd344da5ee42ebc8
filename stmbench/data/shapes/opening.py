"""`shapes` by its options: plain, or with a relation."""

from __future__ import annotations

from stmbench.data.image_set import ImageSet
from stmbench.data.shapes.dataset import Shapes
from stmbench.data.shapes.relations.dataset import RelationalShapes


def open_shapes(
    *, split: str = "test", seed: int = 0, size: int | None = None, count: int = 0, relation: str | None = None
) -> ImageSet:
    """`Shapes`, or `RelationalShapes` where there is a relation; what is None or 0 is left to them."""
    if relation is None:
        return Shapes(split=split, seed=seed, size=64 if size is None else size, count=count)
    return RelationalShapes(relation=relation, split=split, seed=seed, size=96 if size is None else size, count=count)
