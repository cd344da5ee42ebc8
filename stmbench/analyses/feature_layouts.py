"""Maps in the shapes that networks give them: (B, C, H, W), (B, H, W, C), or tokens (B, N, C) after class tokens.

Which one a tensor is follows from the image: a map has the image's proportions.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from stmbench.architectures.module_copies import FeatureSource
from stmbench.errors import UnitError

MOST_PREFIX = 16  # class and register tokens in front of a map's
Pair = tuple[int, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """How a tensor holds a map of `height` x `width`; `prefix` tokens come before those of the map."""

    kind: Literal["channels first", "channels last", "tokens"]
    height: int
    width: int
    prefix: int = 0

    def as_map(self, x: Tensor) -> Tensor:
        """(B, C, H, W)."""
        if self.kind == "tokens":
            tokens = x[:, self.prefix :].transpose(1, 2)  # B, C, N
            return tokens.reshape(*tokens.shape[:2], self.height, self.width)
        return x if self.kind == "channels first" else x.permute(0, 3, 1, 2)


def layout_of(shape: tuple[int, ...], image: Pair, source: FeatureSource) -> Layout:
    """The layout of a tensor of this shape in a network that sees images of (H, W).

    Raises:
        UnitError: it is no map.
    """
    if len(shape) == 4:
        if _is_alike(shape[2:], image):
            return Layout(kind="channels first", height=shape[2], width=shape[3])
        if _is_alike(shape[1:3], image):
            return Layout(kind="channels last", height=shape[1], width=shape[2])
    elif len(shape) == 3 and (found := _token_grid(shape[1], image, source)) is not None:
        (height, width), prefix = found
        return Layout(kind="tokens", height=height, width=width, prefix=prefix)
    remedy = "; give prefix_tokens" if len(shape) == 3 else ""
    expected = "a map (B, C, H, W), (B, H, W, C) or (B, N, C)"
    raise UnitError(f"expected {expected} of images of {image[0]}x{image[1]}, got {tuple(shape)}{remedy}")


def first_tensor(value: Any) -> Tensor | None:
    """What a module gives (or takes) in the first place: itself, or the first tensor of a tuple, dict or output."""
    if isinstance(value, Tensor):
        return value
    if isinstance(found := getattr(value, "last_hidden_state", None), Tensor):
        return found
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple | list) else ()
    return next((found for item in items if (found := first_tensor(item)) is not None), None)


def _is_alike(size: tuple[int, ...], image: Pair) -> bool:
    """Whether a map has the image's proportions, to within one row or column."""
    (height, width), (rows, columns) = size, image
    return abs(height * columns / rows - width) <= 1 and height <= rows and width <= columns


def _token_grid(tokens: int, image: Pair, source: FeatureSource) -> tuple[Pair, int] | None:
    """((H, W), prefix): of the number of prefix tokens or the patch size where they are known, else of the fewest."""
    rows, columns = image
    if source.prefix_tokens is None and source.patch_size is not None:
        grid = rows // source.patch_size[0], columns // source.patch_size[1]
        if 0 <= (prefix := tokens - math.prod(grid)) <= MOST_PREFIX:
            return grid, prefix
    prefixes = range(MOST_PREFIX + 1) if source.prefix_tokens is None else (source.prefix_tokens,)
    for prefix in prefixes:
        height = math.isqrt(max(0, tokens - prefix) * rows // columns)
        if height and (tokens - prefix) % height == 0:
            width = (tokens - prefix) // height
            if height * columns == width * rows:
                return (height, width), prefix
    return None
