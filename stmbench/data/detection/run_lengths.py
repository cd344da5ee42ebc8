"""Masks and COCO's codes of them: run lengths, plain or compressed, and polygons.

Run lengths are the lengths of runs of 0 and 1 in turn, down the columns, starting with 0. Compressed ones are text:
five bits to a character, lowest first, of the difference to the run before the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stmbench.errors import MissingPackageError

Counts = NDArray[np.int64]
_FIRST, _MORE, _SIGN, _VALUE = 48, 0x20, 0x10, 0x1F  # of a character: code of 0, then its bits
_LONGEST = 7  # characters to a run: more bits than any picture has pixels


def encoded(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """(H, W) bool -> {"size": [H, W], "counts": [...]}."""
    pixels = np.asarray(mask, dtype=np.bool_).ravel(order="F")
    edges = np.r_[0, np.flatnonzero(pixels[1:] != pixels[:-1]) + 1, pixels.size]
    counts = np.diff(edges).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if pixels.size and pixels[0] else counts}


def decoded(counts: Counts, size: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W) bool of run lengths."""
    height, width = size
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(width, height).T


def counts_of(code: Any, size: tuple[int, int]) -> Counts | None:
    """The run lengths of a list or a compressed text; None where they do not make up a mask of (H, W)."""
    if isinstance(code, str):
        counts = _expanded(code)
    elif isinstance(code, list) and all(type(count) is int for count in code):
        counts = np.array(code, dtype=np.int64) if max(code, default=0) < 2**31 else None
    else:
        counts = None
    if counts is None or (counts < 0).any() or int(counts.sum()) != size[0] * size[1]:
        return None
    return counts


def _expanded(code: str) -> Counts | None:
    """Run lengths of a compressed text; None if it is none."""
    if not code.isascii():
        return None
    letters = np.frombuffer(code.encode(), dtype=np.uint8).astype(np.int64) - _FIRST
    if not letters.size or (letters < 0).any() or (letters >= 2 * _MORE).any() or letters[-1] & _MORE:
        return None
    ends = np.flatnonzero(letters & _MORE == 0)
    starts = np.r_[0, ends[:-1] + 1]
    lengths = ends - starts + 1
    if lengths.max() > _LONGEST:
        return None
    place = np.arange(letters.size) - np.repeat(starts, lengths)
    values = np.add.reduceat((letters & _VALUE) << 5 * place, starts)
    values -= np.where(letters[ends] & _SIGN, 1 << 5 * lengths, 0)
    counts = values.copy()  # the first three are as they are; the others are told from the run before the last
    counts[1::2] = np.cumsum(values[1::2])
    counts[2::2] = np.cumsum(values[2::2])
    return counts


def drawn_polygons(polygons: Sequence[NDArray[np.float64]], size: tuple[int, int]) -> dict[str, Any]:
    """The union of polygons (x, y, x, y, ...), as compressed run lengths.

    Raises:
        MissingPackageError: faster-coco-eval, which has COCO's rule for the pixels of an edge, is not installed.
    """
    try:
        from faster_coco_eval.core import mask
    except ImportError as error:
        raise MissingPackageError("faster-coco-eval", "masks of polygons", "detection") from error
    code = mask.merge(mask.frPyObjects([polygon.tolist() for polygon in polygons], *size))
    counts = code["counts"]
    return {"size": list(size), "counts": counts.decode() if isinstance(counts, bytes) else counts}
