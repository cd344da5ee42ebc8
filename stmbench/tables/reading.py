"""Parts as one frame: what can be read, with the facts of all, and the names of what cannot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from stmbench.tables.artifacts import METADATA as ARTIFACTS
from stmbench.tables.artifacts import fault_of
from stmbench.tables.parts import ARROW_SCHEMA, UnreadablePart, frame_of_part, read_part, to_frame
from stmbench.tables.printable import printable_frame
from stmbench.tables.schema import check

READERS = 8  # threads; small parts are bound by system calls and decompression, both outside the interpreter lock

Part = tuple[pa.Table, dict[str, Any]]


def read_frame(folder: Path, files: Sequence[Path]) -> pd.DataFrame:
    """The rows of a store's parts with their attrs, as they can be shown; see `Store.read`."""
    with ThreadPoolExecutor(READERS) as pool:
        results = list(pool.map(read_part, files))
    try:
        frame = _frame(folder, results)
    except Exception:  # a part of an older version, without a seal: which one?
        results = [_checked(path, result) for path, result in zip(files, results, strict=True)]
        frame = _frame(folder, results)
    good = [result for result in results if not isinstance(result, UnreadablePart)]
    frame.attrs.update(_attributes(good))
    frame.attrs["unreadable"] = [result for result in results if isinstance(result, UnreadablePart)]
    return printable_frame(_without_damaged(folder, frame, [metadata for _, metadata in good]))


def _frame(folder: Path, results: Sequence[Part | UnreadablePart]) -> pd.DataFrame:
    good = [result[0] for result in results if not isinstance(result, UnreadablePart)]
    tables = [table.replace_schema_metadata(None) for table in good] or [ARROW_SCHEMA.empty_table()]
    frame = to_frame(pa.concat_tables(tables))
    return check(frame.sort_values("created_utc", kind="stable", ignore_index=True), str(folder))


def _checked(path: Path, result: Part | UnreadablePart) -> Part | UnreadablePart:
    """The part, or why its rows break the schema."""
    if isinstance(result, UnreadablePart):
        return result
    frame = frame_of_part(path, result[0])
    return frame if isinstance(frame, UnreadablePart) else result


def _without_damaged(folder: Path, frame: pd.DataFrame, parts: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """The frame without artifacts that nobody should read; weights, which no reader opens, are not looked at."""
    known = {place: facts for metadata in parts for place, facts in metadata.get(ARTIFACTS, {}).items()}
    beside = {place: facts for place, facts in known.items() if place.startswith("parts/")}
    with ThreadPoolExecutor(READERS) as pool:
        faults = list(pool.map(lambda item: fault_of(folder / item[0], item[1]), beside.items()))
    found = {place: fault for place, fault in zip(beside, faults, strict=True) if fault is not None}
    if not found:
        return frame
    lost = frame["artifact"].isin(list(found))
    frame.loc[lost, "artifact"] = pd.NA
    kept = frame[~(lost & frame["value"].isna())].reset_index(drop=True)
    named = [UnreadablePart(place.removeprefix("parts/"), why) for place, why in found.items()]
    kept.attrs = {**frame.attrs, "unreadable": [*frame.attrs["unreadable"], *named]}
    return kept


def _attributes(parts: Sequence[Part]) -> dict[str, Any]:
    mixers: dict[str, Any] = {}
    faint: dict[str, float] = {}
    commits: Counter[str] = Counter()
    lists: dict[str, list[Any]] = {"machines": [], "software": [], "warnings": []}
    machine_of_run: dict[str, int] = {}
    for table, metadata in parts:
        mixers.update(metadata.get("mixers") or {})
        faint.update(metadata.get("faint_mixers") or {})
        commits[str(metadata.get("commit") or "unknown")] += table.num_rows
        found = [("machines", [metadata.get("machine")]), ("software", [metadata.get("software")])]
        for name, values in [*found, ("warnings", metadata.get("warnings") or [])]:
            lists[name] += [value for value in values if value and value not in lists[name]]
        if metadata.get("machine"):
            place = lists["machines"].index(metadata["machine"])
            machine_of_run.update(dict.fromkeys(map(str, table["run_id"].unique().to_pylist()), place))
    places = {"machine_of_run": machine_of_run, "faint_mixers": faint}
    return {"mixers": mixers, "commits": dict(commits), **lists, **places}
