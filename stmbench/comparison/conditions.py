"""Under what conditions a row was measured, as a key that two stores share and as words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

Key = tuple[Any, ...]  # values in the order of the columns; None where null


def keys(frame: pd.DataFrame, columns: Sequence[str]) -> list[Key]:
    """One key a row; nulls are None, so that they equal each other."""
    plain = frame[list(columns)].astype(object)
    return list(plain.where(plain.notna(), None).itertuples(index=False, name=None))


def newest(frame: pd.DataFrame, columns: Sequence[str]) -> dict[Key, Any]:
    """key -> its newest row that has a value."""
    good = frame[frame["value"].notna() & frame["model"].notna()]
    return dict(zip(keys(good, columns), good.to_dict("records"), strict=True))


def same_machine(frames: Sequence[pd.DataFrame]) -> bool:
    """Whether two stores were measured on one machine; not known counts as yes."""
    base, head = (frame.attrs["machines"] for frame in frames)
    return not (base and head) or bool(base == head)


def words(conditions: Mapping[str, Any], *, batch: str | None = None) -> str:
    """The conditions that a reader tells rows of one model apart by."""
    found = []
    definition = str(conditions.get("definition") or "")
    analysis = str(conditions.get("analysis") or "")
    protocol = re.sub(r"\.v\d+$", "", definition).removeprefix("stmbench.")
    if protocol and protocol not in (analysis, "profile"):
        found.append(f"{analysis} {protocol}" if analysis and not protocol.startswith(analysis) else protocol)
    elif analysis and analysis != "profile":
        found.append(analysis)
    if conditions.get("stage") is not None:
        found.append(f"stage {conditions['stage']}")
    if conditions.get("condition") is not None:
        found.append(str(conditions["condition"]))
    if conditions.get("level") is not None:
        found.append(f"at {conditions['level']:.4g}")
    if batch is not None:
        found.append(f"batch {batch}")
    if conditions.get("resolution") is not None:
        found.append(f"{conditions['resolution']} px")
    found += [str(conditions[name]) for name in ("dtype", "device") if conditions.get(name) is not None]
    if conditions.get("compile"):
        found.append("compiled")
    return ", ".join(found)
