"""Merging a store's parts into its packed file, without losing one wherever it is stopped.

The packed file is written whole, and read back, before the parts in it are removed. A merge that is killed leaves each
unit in one place or, alike, in two, and another merge ends what it began.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from stmbench.errors import OutputError, TableError
from stmbench.tables.files import replacing, sealed
from stmbench.tables.packed import (
    FACTS,
    NAME,
    PACKED_SCHEMA,
    OpenPacked,
    Packed,
    is_of,
    listing,
    locked,
    opened,
    packed_in,
    packed_parts,
)
from stmbench.tables.parts import METADATA_KEY, VERSION_KEY, Part, UnreadablePart, file_version, joined, read_each
from stmbench.tables.schema import SCHEMA_VERSION


class Compaction(NamedTuple):
    """What a merge did."""

    merged: int  # parts, into the packed file
    units: int  # in it now
    left: list[UnreadablePart]  # parts that are damaged, and stayed as they are


def compact(parts: Path) -> Compaction:
    """Merge the folder's parts into its packed file; damaged ones stay as they are. A second call changes nothing.

    Raises:
        TableError: a packed file that is damaged. OutputError: no space, no permission, no locks.
    """
    with locked(parts, alone=True):
        listed = listing(parts)
        versions = {path: file_version(path) for path in listed.files}
        names = [path.name for path in listed.files]
        _, found = joined(names, read_each(listed.files), str(parts))
        fresh, left = dict[Path, Part](), []
        for path, part in zip(listed.files, found, strict=True):
            if isinstance(part, UnreadablePart):
                left.append(part)
            elif part[0].num_rows == 0:
                left.append(UnreadablePart(path.name, "no rows"))
            else:
                fresh[path] = part
        packed = packed_in(parts)
        if isinstance(packed, UnreadablePart):
            raise TableError(
                f"{parts / NAME} as it was written",
                packed.reason,
                "restore it from a copy, or remove it and measure again",
            )
        gone = set() if packed is None else listed.removed(packed) & set(packed.units)
        if fresh or gone:
            kept = packed_parts(parts, listed)
            assert not isinstance(kept, UnreadablePart)
            packed = _write(parts, {**kept, **{path.stem: part for path, part in fresh.items()}})
        merged = [path for path in fresh if file_version(path) == versions[path]]
        old = [parts / name for name in listed.removals if packed is None or not is_of(name, packed.id)]
        try:
            for path in (*merged, *old):
                path.unlink()
        except OSError as error:
            got = f"{error.filename} ({error.strerror or error})"
            raise OutputError("to remove what was merged", got, "correct the permissions and merge again") from error
    return Compaction(len(fresh), 0 if packed is None else len(packed.units), left)


def _write(parts: Path, units: Mapping[str, Part]) -> Packed | None:
    """Replace the packed file; remove it where there are no units. Raises OutputError."""
    path, identity = parts / NAME, secrets.token_hex(8)
    if not units:
        path.unlink(missing_ok=True)
        return None
    ordered = sorted(units.items())
    counts = [table.num_rows for _, (table, _) in ordered]
    rows = pa.concat_tables([table.replace_schema_metadata(None) for _, (table, _) in ordered]).combine_chunks()
    texts = np.full(sum(counts), None, dtype=object)
    texts[np.cumsum([0, *counts[:-1]])] = [json.dumps(metadata, sort_keys=True) for _, (_, metadata) in ordered]
    keys = np.repeat(np.array([key for key, _ in ordered], dtype=object), counts)
    columns = [*rows.columns, pa.array(keys, pa.string()), pa.array(texts, pa.string())]
    facts = json.dumps({"id": identity, "schema_version": SCHEMA_VERSION})
    stored = {VERSION_KEY: str(SCHEMA_VERSION + 1), METADATA_KEY: "{}", FACTS: facts}
    table = pa.table(columns, schema=PACKED_SCHEMA.with_metadata(stored))
    try:
        with replacing(path, durable=True) as temporary:
            temporary.write_bytes(sealed(table))
            written = opened(temporary)
            if not isinstance(written, OpenPacked) or list(written.packed.units) != [key for key, _ in ordered]:
                raise OutputError(f"{path} as it was written", "another content", "check the disk; nothing was merged")
    except OSError as error:
        raise OutputError(f"to write {path}", error.strerror or str(error), "free space, or copy the store") from error
    return written.packed
