"""Parts merged into one file on request, `parts/packed.parquet`: what `stmbench store compact` makes.

    parts/packed.parquet     sealed: the table's columns, `key`, and `metadata` in the first row of each unit
    parts/packed.<id>.<key>  empty: this unit was removed from the packed file of this id

A unit's own part takes precedence over what the packed file holds of that unit. Merging writes the packed file whole
and then removes the parts in it, so a merge that is killed anywhere leaves each unit in one place or, alike, in two.
Who writes or removes a part holds the folder's lock together with others, who merges holds it alone. Readers need no
lock: they list parts and removals first, and read the packed file last.

The file says that it is of a newer schema than a part: versions that cannot read it refuse the store.
"""

from __future__ import annotations

import bisect
import contextlib
import json
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from stmbench.errors import OutputError, TableError
from stmbench.tables.files import is_intact, is_sealed
from stmbench.tables.migration import migrated
from stmbench.tables.parts import (
    ARROW_SCHEMA,
    DAMAGED,
    VERSION_KEY,
    Part,
    UnreadablePart,
    file_version,
    is_settled,
)
from stmbench.tables.schema import SCHEMA_VERSION

STEM: Final = "packed"
NAME: Final = f"{STEM}.parquet"
FACTS: Final = b"stmbench.packed"  # in the file's metadata: its id, and the schema version of its rows
_KEY, _METADATA = "key", "metadata"
PACKED_SCHEMA: Final = pa.schema([*ARROW_SCHEMA, (_KEY, pa.string()), (_METADATA, pa.string())])
_KNOWN: Final = dict[Path, tuple[tuple[int, ...], "Packed"]]()


class Unit(NamedTuple):
    """Where a unit's rows are in the packed file, and its metadata as JSON."""

    start: int
    rows: int
    metadata: str


class Packed(NamedTuple):
    """What a packed file holds: units by key, in the order of keys and rows."""

    id: str
    units: dict[str, Unit]


class OpenPacked(NamedTuple):
    """A packed file whose bytes are as they were written."""

    file: pq.ParquetFile
    packed: Packed
    version: int  # of the rows' schema


class Listing(NamedTuple):
    """A store's folder `parts`: the files of parts, sorted, and the names that say what was removed."""

    files: list[Path]
    removals: set[str]

    def removed(self, packed: Packed) -> set[str]:
        """The keys that were removed from this packed file."""
        return {name.removeprefix(removal_name(packed.id, "")) for name in self.removals if is_of(name, packed.id)}


@contextlib.contextmanager
def locked(parts: Path, *, alone: bool = False) -> Iterator[None]:
    """Hold the folder's lock, together with others or alone; whoever is killed no longer holds it.

    Where folders cannot be locked writers go without, as nobody can merge there.

    Raises:
        OutputError: the folder cannot be locked `alone`, or opened.
    """
    try:
        descriptor = os.open(parts, os.O_RDONLY)
    except OSError as error:
        raise OutputError(f"to open {parts}", error.strerror or str(error), "choose another with --out") from error
    try:
        _lock(descriptor, parts, alone)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, parts: Path, alone: bool) -> None:
    reason = "a system without such locks"
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        return
    except ImportError:
        pass
    except OSError as error:
        reason = error.strerror or str(error)
    if alone:
        raise OutputError(f"a folder that can be locked, {parts}", reason, "copy the store to a local disk")


def listing(parts: Path) -> Listing:
    """The parts and removals of a folder; nothing where there is none."""
    files, removals = [], set[str]()
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(parts):
            stem, dot, rest = name.partition(".")
            if stem == STEM and rest != "parquet":
                removals.add(name)
            elif dot and rest == "parquet" and stem and stem != STEM:
                files.append(name)
    return Listing([parts / name for name in sorted(files)], removals)


def packed_in(parts: Path) -> Packed | UnreadablePart | None:
    """What the folder's packed file holds; None where there is none. Raises TableError for a newer one."""
    path = parts / NAME
    version = file_version(path)
    if version is None:
        return None
    if (known := _KNOWN.get(path)) is not None and known[0] == version:
        return known[1]
    found = opened(path)
    if not isinstance(found, OpenPacked):
        return found
    if is_settled(version):
        _KNOWN[path] = version, found.packed
    return found.packed


def unit_in(parts: Path, key: str) -> Unit | UnreadablePart | None:
    """A unit of the folder's packed file; None where it has none of that key."""
    while True:
        packed = packed_in(parts)
        if packed is None or isinstance(packed, UnreadablePart):
            return packed
        unit = packed.units.get(key)
        if unit is not None and (parts / removal_name(packed.id, key)).exists():
            return None
        now = packed_in(parts)  # a merge removes the marks of the file that it replaced
        if isinstance(now, Packed) and now.id == packed.id:
            return unit


def remove_from_packed(parts: Path, key: str) -> None:
    """Mark a unit as removed from the packed file, under the folder's lock. Raises OSError."""
    packed = packed_in(parts)
    if isinstance(packed, Packed) and key in packed.units:
        (parts / removal_name(packed.id, key)).touch()


def packed_parts(
    parts: Path, listed: Listing, keys: Collection[str] | None = None, columns: Sequence[str] | None = None
) -> dict[str, Part] | UnreadablePart:
    """Rows and metadata of the packed file's units, by key.

    Args:
        listed: the folder as it was before its parts were read.
        keys: of the units to read; default: all.
        columns: the ones to read, in the table's order; default: all.
    """
    found = opened(parts / NAME)
    if not isinstance(found, OpenPacked):
        return {} if found is None else found
    units, removed = found.packed.units, listed.removed(found.packed)
    chosen = {key: unit for key, unit in units.items() if key not in removed and (keys is None or key in keys)}
    if not chosen:
        return {}
    table, places = _rows(
        found.file,
        list(chosen.values()),
        columns if columns is not None and found.version == SCHEMA_VERSION else ARROW_SCHEMA.names,
    )
    table = migrated(table, found.version)
    table = table if columns is None else table.select(columns)
    return {
        key: (table.slice(place, unit.rows), json.loads(unit.metadata))
        for (key, unit), place in zip(chosen.items(), places, strict=True)
    }


def _rows(file: pq.ParquetFile, units: list[Unit], columns: Sequence[str]) -> tuple[pa.Table, list[int]]:
    """The rows of the row groups that hold these units, and where each unit begins in them."""
    starts = [0]
    for group in range(file.num_row_groups):
        starts.append(starts[-1] + file.metadata.row_group(group).num_rows)
    wanted = sorted(
        {
            group
            for unit in units
            for group in range(
                bisect.bisect_right(starts, unit.start) - 1, bisect.bisect_left(starts, unit.start + unit.rows)
            )
        }
    )
    before, total = {}, 0
    for group in wanted:
        before[group] = total
        total += starts[group + 1] - starts[group]
    places = []
    for unit in units:
        group = bisect.bisect_right(starts, unit.start) - 1
        places.append(before[group] + unit.start - starts[group])
    return file.read_row_groups(wanted, columns=columns).replace_schema_metadata(None), places


def opened(path: Path) -> OpenPacked | UnreadablePart | None:
    """The packed file, verified; None where there is no file. Raises TableError for a newer one."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        return UnreadablePart(NAME, error.strerror or str(error))
    if not is_sealed(data) or not is_intact(data):
        return UnreadablePart(NAME, "other bytes than were written")
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        stored = file.schema_arrow.metadata or {}
        facts = json.loads(stored.get(FACTS, b"{}"))
        newest = int(facts.get("schema_version", stored[VERSION_KEY]))
        if newest <= SCHEMA_VERSION:
            index = file.read(columns=[_KEY, _METADATA])
            return OpenPacked(file, Packed(str(facts["id"]), _units(index)), newest)
    except Exception as error:
        return UnreadablePart(NAME, f"{DAMAGED}: {type(error).__name__}")
    raise TableError(f"schema version {SCHEMA_VERSION} or older", f"version {newest} in {NAME}", "update stmbench")


def _units(index: pa.Table) -> dict[str, Unit]:
    metadata = index[_METADATA].combine_chunks()
    firsts = [place for place, given in enumerate(metadata.is_valid().to_pylist()) if given]
    keys, texts = index[_KEY].take(firsts).to_pylist(), metadata.take(pa.array(firsts)).to_pylist()
    ends = [*firsts[1:], index.num_rows]
    return {
        key: Unit(start, end - start, text) for key, text, start, end in zip(keys, texts, firsts, ends, strict=True)
    }


def removal_name(identity: str, key: str) -> str:
    """The file that says that a unit was removed from the packed file of this id."""
    return f"{STEM}.{identity}.{key}"


def is_of(removal: str, identity: str) -> bool:
    """Whether a removal is one of the packed file of this id."""
    return removal.startswith(removal_name(identity, ""))
