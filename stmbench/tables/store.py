"""A store: a folder with one Parquet part per unit of work.

    <folder>/parts/<key>.parquet      the rows of one unit, with its metadata
    <folder>/parts/<key>.<name>       arrays of that unit (artifacts)

A part is there as a whole or not at all, so a run that was killed goes on where it stopped: `has(key)` says what is
done. A part knows its own hash (`seal`) and those of its artifacts: what was damaged since is not done.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from stmbench.errors import OutputError, TableError
from stmbench.tables.artifacts import METADATA as ARTIFACTS
from stmbench.tables.artifacts import facts_of, fault_of
from stmbench.tables.metadata import fault_in
from stmbench.tables.parts import UnreadablePart, read_metadata, read_part, write_part
from stmbench.tables.reading import read_frame
from stmbench.tables.rows import Row, frame_of
from stmbench.tables.writing import sweep


def unit_key(facts: Mapping[str, Any]) -> str:
    """The key of a unit of work: sha256, in hex, of what it is a function of, as canonical JSON.

    Raises TableError for a fact that JSON cannot hold; order does not matter, and a tuple is its list.
    """
    try:
        text = json.dumps(dict(facts), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TableError("facts that JSON can hold", str(error), "give text, numbers, lists and dicts") from error
    return hashlib.sha256(text.encode()).hexdigest()


class Store:
    """The parts of one folder. Reading never writes; call `require_writable` before any work that will be written."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.parts = self.folder / "parts"

    def require_writable(self) -> Store:
        """Create the folder where it is missing, sweep what killed runs left, and return self.

        Raises OutputError where the folder cannot be created or written.
        """
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
        sweep(self.parts)
        return self

    def has(self, key: str) -> bool:
        """Whether the unit's part and its artifacts are there as they were written; damaged ones are made again."""
        return self._path(key).is_file() and self.fault(key) is None

    def fault(self, key: str) -> str | None:
        """Why what the store holds of a unit does not count, with the file's name; None where it does, or has nothing.

        Raises TableError for a part of a newer schema.
        """
        path = self._path(key)
        if not path.exists():
            return None
        stored = read_metadata(path)
        if isinstance(stored, UnreadablePart):
            return f"{stored.part}: {stored.reason}"
        for place, facts in self._artifacts(path, stored).items():
            reason = fault_of(self.folder / place, facts)
            if reason is not None:
                return f"{place}: {reason}"
        return None

    def write(self, key: str, rows: Iterable[Row], *, metadata: Mapping[str, Any]) -> Path:
        """Check the rows and write them as the unit's part, at once; an older part of that key is replaced.

        Args:
            metadata: what JSON can hold. `commit` (text), `machine` and `software` (mappings), `warnings` (list of
                text) and `mixers` (mixer -> title, abbreviation, palette_slot) come back in `read().attrs`. Sizes and
                hashes of the rows' artifacts are added.

        Raises:
            TableError: rows or metadata that break the schema, or no rows. OutputError: no space, no permission.
        """
        path, frame = self._path(key), frame_of(rows)
        if frame.empty:
            raise TableError("at least one row in a part", "none", "record a 'skipped' row with the reason")
        if not self.parts.is_dir():
            self.require_writable()
        try:
            files = facts_of(self.folder, frame["artifact"].dropna())
        except OSError as error:
            got = f"{error.filename} ({error.strerror or error})"
            raise OutputError("artifacts that can be read", got, "see to the disk and measure again") from error
        metadata = {**metadata, ARTIFACTS: files}
        if (fault := fault_in(metadata)) is not None:
            raise TableError("metadata in its form (tables.metadata)", fault, "correct it")
        write_part(path, frame, metadata)
        return path

    def remove(self, key: str) -> None:
        """Forget a unit: its part first, then its artifacts. Nothing happens where there is none."""
        path = self._path(key)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        for artifact in self.parts.glob(f"{key}.*"):
            artifact.unlink(missing_ok=True)

    def keys(self, **metadata: Any) -> list[str]:
        """Keys of the readable parts, sorted; with arguments, of those whose metadata has these values."""
        found = []
        for path in self._files():
            stored = read_metadata(path)
            if isinstance(stored, dict) and all(stored.get(name) == value for name, value in metadata.items()):
                found.append(path.stem)
        return found

    def metadata(self, key: str) -> dict[str, Any]:
        """The part's metadata. Raises TableError where there is no readable part of that key."""
        stored = read_metadata(self._path(key))
        if isinstance(stored, UnreadablePart):
            raise TableError(f"a part of the key {key}", stored.reason, "run the unit again")
        return stored

    def artifact(self, key: str, name: str) -> Path:
        """Where the unit's array `name` belongs: beside its part. Write it before the part."""
        if not name or Path(name).name != name or name == "parquet":
            raise TableError("an artifact's file name", repr(name), "use a plain name such as erf.npy")
        self._path(key)
        return self.parts / f"{key}.{name}"

    def place(self, path: Path) -> str:
        """A file of the store as the column `artifact` has it: relative to the folder, with forward slashes."""
        return path.relative_to(self.folder).as_posix()

    def read(self, keys: Iterable[str] | None = None) -> pd.DataFrame:
        """Every row of every readable part, in the order of their making, as one checked data frame.

        With `keys`, of these parts alone; one that is not there adds nothing. Where an artifact beside its part is not
        what was written, rows lose its name, and those without a value are left out.

        `attrs`, from the parts' metadata: mixers (mixer -> title, abbreviation, palette_slot), commits (commit ->
        rows), machines, software and warnings (lists without doubles), machine_of_run (run_id -> place in machines),
        faint_mixers (model -> share of the residual stream, of those whose mixers hardly have one),
        unreadable (list of UnreadablePart: parts and artifacts that are damaged or gone).

        Raises:
            TableError: no store, or a part of a newer schema.
        """
        try:
            if not self.parts.is_dir():
                raise TableError("a result store", f"{str(self.folder)!r}", "name the folder given to --out")
            with os.scandir(self.parts):  # a folder that cannot be listed would look empty
                pass
        except OSError as error:
            got = f"{str(self.folder)!r} ({error.strerror or error})"
            raise TableError("a result store that can be read", got, "ask its owner, or copy it") from error
        wanted = None if keys is None else set(keys)
        files = [path for path in self._files() if wanted is None or path.stem in wanted]
        return read_frame(self.folder, files)

    def _artifacts(self, path: Path, metadata: dict[str, Any]) -> dict[str, dict[str, Any] | None]:
        """Place -> facts of a part's artifacts; parts of older versions have no facts, but names in their rows."""
        if ARTIFACTS in metadata:
            return dict(metadata[ARTIFACTS])
        part = read_part(path)
        return {} if isinstance(part, UnreadablePart) else dict.fromkeys(part[0]["artifact"].drop_null().to_pylist())

    def _files(self) -> list[Path]:
        return sorted(path for path in self.parts.glob("*.parquet") if "." not in path.stem)

    def _path(self, key: str) -> Path:
        if not key or not all(letter.isalnum() or letter in "-_" for letter in key):
            raise TableError("a unit's key (unit_key)", repr(key), "use letters, digits, - and _")
        return self.parts / f"{key}.parquet"


def read(folder: str | Path) -> pd.DataFrame:
    """All rows of a store's folder; see `Store.read`."""
    return Store(folder).read()
