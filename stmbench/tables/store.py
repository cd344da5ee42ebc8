"""A store: a folder with one Parquet part per unit of work.

    <folder>/parts/<key>.parquet      the rows of one unit, with its metadata
    <folder>/parts/<key>.<name>       arrays of that unit (artifacts)
    <folder>/parts/packed.parquet     parts that were merged on request (`packed`)

A part exists as a whole or not at all, so a killed run resumes where it left off: `has(key)` says what is done. A part
holds its own hash and those of its artifacts (`integrity`): a unit with damaged files is not done.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from stmbench.errors import OutputError, TableError, UnknownNameError
from stmbench.tables import compaction, packed
from stmbench.tables.addresses import fetched, mirror_of, shown
from stmbench.tables.attributes import NEEDED, attributes_of
from stmbench.tables.damage import fault_of, without_damaged
from stmbench.tables.files import ARTIFACTS, artifact_facts, clean_once, metadata_fault, remove_stale_temporaries
from stmbench.tables.parts import (
    NO_FILE,
    Part,
    UnreadablePart,
    is_missing,
    joined,
    part_bytes,
    read_each,
    read_metadata,
    write_part,
)
from stmbench.tables.rows import Row, frame_of, printable_frame
from stmbench.tables.schema import COLUMNS

_KEY: Final = re.compile(r"[\w-]+")


def unit_key(facts: Mapping[str, Any]) -> str:
    """The key of a unit of work: sha256, in hex, of everything its result depends on, as canonical JSON.

    The order of facts does not matter, and a tuple equals its list. Raises TableError for what JSON cannot hold.
    """
    try:
        text = json.dumps(dict(facts), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TableError("facts that JSON can hold", str(error), "give text, numbers, lists and dicts") from error
    return hashlib.sha256(text.encode()).hexdigest()


class Store:
    """The parts of one folder. Reading never writes; call `require_writable` before any work that will be written."""

    def __init__(self, folder: str | Path, *, dry_run: bool = False) -> None:
        """With `dry_run` nothing will be written, so no folder is made."""
        self.folder, self._dry_run = Path(folder), dry_run
        self.parts = self.folder / "parts"

    def require_writable(self, *, once: bool = False) -> Store:
        """Create the folder if needed, remove temporary files of killed runs, and return self.

        With `once` those files, for which the folder is listed, are looked for only if this process has not yet.

        Raises OutputError if the folder cannot be created or written.
        """
        if self._dry_run:
            return self
        try:
            self.parts.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.parts) as probe:
                probe.write(b"stmbench")
        except OSError as error:
            raise OutputError(
                "a folder that can be written",
                f"{str(self.folder)!r} ({error.strerror or error})",
                "choose another with --out",
            ) from error
        (clean_once if once else remove_stale_temporaries)(self.parts)
        self._send_what_is_new()
        return self

    def has(self, key: str) -> bool:
        """Whether the unit's part and its artifacts are as they were written; a damaged unit is measured again."""
        return self.intact_metadata(key) is not None

    def intact_metadata(self, key: str) -> dict[str, Any] | None:
        """The part's metadata, where `has` is true; None otherwise."""
        stored = self._metadata(key)
        return stored if isinstance(stored, dict) and self._fault_of(key, stored) is None else None

    def fault(self, key: str) -> str | None:
        """Which file of a unit is damaged, and how; None for none. Raises TableError for a part of a newer schema."""
        stored = self._metadata(key)
        if isinstance(stored, UnreadablePart):
            return f"{stored.part}: {stored.reason}"
        return None if stored is None else self._fault_of(key, stored)

    def _fault_of(self, key: str, stored: dict[str, Any]) -> str | None:
        """Which artifact is damaged, and how."""
        faults = (
            (place, fault_of(self.folder / place, facts)) for place, facts in self._artifacts(key, stored).items()
        )
        return next((f"{place}: {reason}" for place, reason in faults if reason is not None), None)

    def write(self, key: str, rows: Iterable[Row], *, metadata: Mapping[str, Any]) -> Path:
        """Check the rows and write them atomically as the unit's part; an older part of that key is replaced.

        Args:
            metadata: anything JSON can hold. `commit` (text), `machine` and `software` (mappings), `warnings` (list of
                text) and `mixers` (mixer -> title, abbreviation, palette_slot) come back in `read().attrs`. Sizes and
                hashes of the rows' artifacts are added.

        Raises:
            TableError: no rows, or rows or metadata that violate the schema. OutputError: no space, no permission.
        """
        path, frame = self._path(key), frame_of(rows)
        if frame.empty:
            raise TableError("at least one row in a part", "none", "record a 'skipped' row with the reason")
        if not self.parts.is_dir():
            self.require_writable()
        try:
            files = artifact_facts(self.folder, frame["artifact"].dropna())
        except OSError as error:
            got = f"{error.filename} ({error.strerror or error})"
            raise OutputError("artifacts that can be read", got, "check the disk and measure again") from error
        metadata = {**metadata, ARTIFACTS: files}
        if (fault := metadata_fault(metadata)) is not None:
            raise TableError("metadata of the documented types (tables.files)", fault, "correct it")
        with packed.locked(self.parts):
            write_part(path, frame, metadata)
        return path

    def remove(self, key: str) -> None:
        """Remove a unit: its part first, then its artifacts. A missing unit is no error."""
        path = self._path(key)
        if not self.parts.is_dir():
            return
        with packed.locked(self.parts):
            packed.remove_from_packed(self.parts, key)  # first: what is older must not come back
            path.unlink(missing_ok=True)
        for artifact in self.parts.glob(f"{key}.*"):
            artifact.unlink(missing_ok=True)

    def keys(self, **metadata: Any) -> list[str]:
        """Keys of the readable parts, sorted; with arguments, only of parts whose metadata has these values."""
        found = []
        for key in self.names():
            stored = self._metadata(key)
            if isinstance(stored, dict) and all(stored.get(name) == value for name, value in metadata.items()):
                found.append(key)
        return found

    def names(self) -> list[str]:
        """Keys of all parts, sorted, whether they can be read or not."""
        listed, merged = packed.listing(self.parts), packed.packed_in(self.parts)
        units = set(merged.units) - listed.removed(merged) if isinstance(merged, packed.Packed) else set[str]()
        return sorted({path.stem for path in listed.files} | units)

    def metadata(self, key: str) -> dict[str, Any]:
        """The part's metadata. Raises TableError if there is no readable part with that key."""
        stored = self._metadata(key)
        if not isinstance(stored, dict):
            raise TableError(
                f"a part of the key {key}", NO_FILE if stored is None else stored.reason, "run the unit again"
            )
        return stored

    def contents(self, key: str) -> dict[str, bytes]:
        """Name -> content of the unit's files in `parts`, the part last; for another store. Raises OSError."""
        part = self._path(key)
        files = {path.name: path.read_bytes() for path in sorted(self.parts.glob(f"{key}.*")) if path != part}
        if part.exists():
            return {**files, part.name: part.read_bytes()}
        found = packed.packed_parts(self.parts, packed.listing(self.parts), {key})
        if not isinstance(found, UnreadablePart) and key in found:
            files[part.name] = part_bytes(*found[key])
        return files

    def compact(self) -> compaction.Compaction:
        """Merge the parts into one file; see `tables.compaction`.

        Raises:
            TableError: no store, a merged file that is damaged. OutputError: the folder cannot be written or locked.
        """
        self._require_store()
        self._send_what_is_new()
        return compaction.compact(self.parts)

    def artifact(self, key: str, name: str) -> Path:
        """The path of the unit's array `name`, next to its part. Write the array before the part.

        Of a store at an address, an array that is there alone is fetched.
        """
        if not name or Path(name).name != name or name == "parquet":
            raise TableError("an artifact's file name", repr(name), "use a plain name such as erf.npy")
        self._path(key)
        path = self.parts / f"{key}.{name}"
        return path if path.exists() else fetched(path)

    def place(self, path: Path) -> str:
        """The value of the column `artifact` for a file: its path relative to the folder, with forward slashes."""
        return path.relative_to(self.folder).as_posix()

    def read(self, keys: Iterable[str] | None = None, *, columns: Iterable[str] | None = None) -> pd.DataFrame:
        """Every row of every readable part, from the oldest to the newest, as one checked data frame.

        With `keys`, only of these parts; a missing one adds nothing. If an artifact next to its part is damaged, its
        rows lose its name, and those without a value are left out. With `columns`, only these, in the table's order: it
        takes a fraction of the time.

        `attrs`, from the parts' metadata: mixers (mixer -> title, abbreviation, palette_slot), commits (commit ->
        rows), machines, software and warnings (lists without duplicates), machine_of_run (run_id -> index into
        machines), trainings (see `tables.trainings`), faint_mixers (model -> share of the residual stream, for models
        whose mixers hardly contribute to it), outputs ((analysis, model, weights) -> outputs of the head), unreadable
        (list of UnreadablePart: parts and artifacts that are damaged or gone).

        Raises:
            TableError: no store, or a part of a newer schema. UnknownNameError: a column that is none of the table's.
        """
        self._require_store()
        wanted = None if columns is None else set(columns)
        if wanted is not None and not wanted <= set(COLUMNS):
            raise UnknownNameError("column", min(wanted - set(COLUMNS)), COLUMNS)
        chosen = None if wanted is None else [name for name in COLUMNS if name in wanted | set(NEEDED)]
        names, parts = self._parts(None if keys is None else set(keys), chosen)
        frame, parts = joined(names, parts, str(self.folder), chosen)
        good = [part for part in parts if not isinstance(part, UnreadablePart)]
        frame.attrs.update(attributes_of(good))
        frame.attrs["unreadable"] = [part for part in parts if isinstance(part, UnreadablePart)]
        frame = without_damaged(self.folder, frame, [metadata for _, metadata in good])
        if wanted is not None:
            frame = frame[[name for name in COLUMNS if name in wanted]]
        return printable_frame(frame)

    def _send_what_is_new(self) -> None:
        """To the address of the store, where it has one, until `addresses.end_all`."""
        if (mirror := mirror_of(self.folder)) is not None:
            mirror.begin()

    def _require_store(self) -> None:
        try:
            if not self.parts.is_dir():
                raise TableError("a result store", f"{shown(self.folder)!r}", "name the folder given to --out")
            with os.scandir(self.parts):  # a folder that cannot be listed would look empty
                pass
        except OSError as error:
            got = f"{shown(self.folder)!r} ({error.strerror or error})"
            raise TableError("a result store that can be read", got, "ask its owner, or copy it") from error

    def _parts(
        self, keys: set[str] | None, columns: Sequence[str] | None = None
    ) -> tuple[list[str], list[Part | UnreadablePart]]:
        """File names and what each holds, in the order of keys; the packed file is read last."""
        listed = packed.listing(self.parts)
        files = [path for path in listed.files if keys is None or path.stem in keys]
        found = dict(zip((path.stem for path in files), read_each(files, columns), strict=True))
        # what was merged or removed meanwhile is no fault
        found = {key: part for key, part in found.items() if not is_missing(part) or self._path(key).exists()}
        merged = packed.packed_parts(self.parts, listed, keys, columns)
        if isinstance(merged, UnreadablePart):
            return [*found, packed.NAME], [*found.values(), merged]
        found = dict(sorted({**merged, **found}.items()))
        return [f"{key}.parquet" for key in found], list(found.values())

    def _metadata(self, key: str) -> dict[str, Any] | UnreadablePart | None:
        """Of the unit's own part, else of the packed one; None where there is neither."""
        path = self._path(key)
        stored = read_metadata(path)
        if not is_missing(stored) or path.exists():
            return stored
        unit = packed.unit_in(self.parts, key)
        return dict(json.loads(unit.metadata)) if isinstance(unit, packed.Unit) else unit

    def _artifacts(self, key: str, metadata: dict[str, Any]) -> dict[str, dict[str, Any] | None]:
        """Path -> facts of a part's artifacts; parts of older versions hold no facts, only names in their rows."""
        if ARTIFACTS in metadata:
            return dict(metadata[ARTIFACTS])
        _, parts = self._parts({key}, ["artifact"])
        tables = [part[0] for part in parts if not isinstance(part, UnreadablePart)]
        return dict.fromkeys(place for table in tables for place in table["artifact"].drop_null().to_pylist())

    def _path(self, key: str) -> Path:
        if key == packed.STEM or _KEY.fullmatch(key) is None:
            raise TableError("a unit's key (unit_key)", repr(key), "use letters, digits, - and _")
        return self.parts / f"{key}.parquet"


def read(folder: str | Path) -> pd.DataFrame:
    """All rows of a store's folder; see `Store.read`."""
    return Store(folder).read()
