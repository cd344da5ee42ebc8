"""Splits as folders and files name them."""

from __future__ import annotations

from collections.abc import Collection

from stmbench.errors import ConfigError

TRAIN, HELD_OUT = ("train", "training"), ("test", "val", "validation", "valid")
KNOWN = (*TRAIN, *HELD_OUT)
# what 'test' means on disk: what was held out, under the name that it has there
CANDIDATES = {"test": HELD_OUT, "val": ("val", "validation", "valid"), "train": TRAIN}


def candidates(split: str) -> tuple[str, ...]:
    """Names to look for, the best first."""
    return CANDIDATES.get(split, (split,))


def find(split: str, there: Collection[str], where: str) -> str:
    """The name among `there` that the split goes by. Raises ConfigError for a split that is not there."""
    for name in candidates(split):
        if name in there:
            return name
    raise ConfigError(f"the split {split!r} in {where}", f"{', '.join(sorted(there))}", "change --split")
