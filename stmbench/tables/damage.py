"""Artifacts of a store that are damaged or gone, and a frame without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from stmbench.tables.addresses import is_elsewhere
from stmbench.tables.files import ARTIFACTS, GONE, artifact_fault
from stmbench.tables.parts import READERS, UnreadablePart


def fault_of(file: Path, facts: Mapping[str, Any] | None) -> str | None:
    """`artifact_fault`, but for a file that the store has at its address alone."""
    reason = artifact_fault(file, facts)
    return None if reason == GONE and facts is not None and is_elsewhere(file, facts["bytes"]) else reason


def without_damaged(folder: Path, frame: pd.DataFrame, parts: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """The frame without damaged artifacts; weights, which no reader of tables opens, are not checked."""
    known = {path: facts for metadata in parts for path, facts in metadata.get(ARTIFACTS, {}).items()}
    arrays = {path: facts for path, facts in known.items() if path.startswith("parts/")}
    with ThreadPoolExecutor(READERS) as pool:
        faults = list(pool.map(lambda item: fault_of(folder / item[0], item[1]), arrays.items()))
    damaged = {path: fault for path, fault in zip(arrays, faults, strict=True) if fault is not None}
    if not damaged:
        return frame
    lost = frame["artifact"].isin(list(damaged))
    frame.loc[lost, "artifact"] = pd.NA
    kept = frame[~(lost & frame["value"].isna())].reset_index(drop=True)
    named = [UnreadablePart(path.removeprefix("parts/"), why) for path, why in damaged.items()]
    kept.attrs = {**frame.attrs, "unreadable": [*frame.attrs["unreadable"], *named]}
    return kept
