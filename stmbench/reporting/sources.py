"""The stores that a report is made of, as one frame whose artifacts can be found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from stmbench.errors import TableError
from stmbench.tables import read


def read_stores(folders: Sequence[str | Path]) -> pd.DataFrame:
    """All rows of the stores, one after the other, with the attrs of all of them; a folder named twice counts once.

    `artifact` is made a path that can be opened from here. `attrs["stores"]` are the folders as they were named.

    Raises:
        TableError: a folder that is no store, a part of another schema version (with the store's name), rows that
            break the schema, or stores without a single row.
    """
    named: dict[Path, str] = {}
    for folder in folders:
        named.setdefault(Path(folder).resolve(), str(folder))
    frames = [placed(_read(name), Path(name)) for name in named.values()]
    filled = [frame for frame in frames if len(frame)]
    if not filled:
        unreadable = [part for frame in frames for part in frame.attrs["unreadable"]]
        got = f"none in {', '.join(named.values())}"
        if unreadable:
            first = unreadable[0]
            got += f" (files that cannot be read: {len(unreadable)}, such as {first.part}, {first.reason})"
        raise TableError("rows to report", got, "measure something into the store first, such as `stmbench profile`")
    whole = pd.concat(filled, ignore_index=True)
    whole.attrs.update(_merged(frame.attrs for frame in frames))
    whole.attrs["stores"] = list(named.values())
    return whole


def placed(frame: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """The frame of a store with artifacts as absolute paths, so that they are found from anywhere."""
    here = frame.copy()
    here.attrs = dict(frame.attrs)
    here["artifact"] = (str(folder.resolve()) + "/" + frame["artifact"]).astype(frame["artifact"].dtype)
    return here


def _read(folder: str) -> pd.DataFrame:
    try:
        return read(folder)
    except TableError as error:
        if folder in str(error):
            raise
        raise TableError(error.expected, f"{error.got} (store {folder})", error.remedy) from error


def _merged(attrs: Iterable[Mapping[Any, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"mixers": {}, "commits": {}, "machines": [], "software": [], "warnings": [],
                             "machine_of_run": {}, "faint_mixers": {}, "unreadable": []}  # fmt: skip
    for one in attrs:
        found["mixers"].update(one.get("mixers", {}))
        found["faint_mixers"].update(one.get("faint_mixers", {}))
        for commit, rows in one.get("commits", {}).items():
            found["commits"][commit] = found["commits"].get(commit, 0) + rows
        for name in ("machines", "software", "warnings", "unreadable"):
            found[name] += [value for value in one.get(name, []) if value not in found[name]]
        for run, place in one.get("machine_of_run", {}).items():
            found["machine_of_run"][run] = found["machines"].index(one["machines"][place])
    return found
