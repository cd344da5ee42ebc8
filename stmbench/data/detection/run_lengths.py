"""Masks as COCO's run-length codes: lengths of runs of 0 and 1 in turn, down the columns, starting with 0."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def encoded(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """(H, W) bool -> {"size": [H, W], "counts": [...]}."""
    pixels = np.asarray(mask, dtype=np.bool_).ravel(order="F")
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    edges = np.r_[0, changes, pixels.size]
    counts = np.diff(edges).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if pixels.size and pixels[0] else counts}
