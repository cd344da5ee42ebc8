"""A store: a folder with one Parquet part per unit of work.

    <folder>/parts/<key>.parquet      the rows of one unit, with its metadata
    <folder>/parts/<key>.<name>       arrays of that unit (artifacts)

A part is there as a whole or not at all, so a run that was killed goes on where it stopped: `has(key)` says what is
done.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from stmbench.errors import OutputError, TableError
from stmbench.tables.parts import ARROW_SCHEMA, UnreadablePart, read_metadata, read_part, write_part
from stmbench.tables.rows import Row, frame_of
from stmbench.tables.schema import check
from stmbench.tables.writing import sweep

READERS = 8  # threads; small parts are bound by system calls and decompression, both outside the interpreter lock


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
        """Whether the unit's part is there and readable; a truncated part counts as missing, so it is made again."""
        path = self._path(key)
        return path.is_file() and not isinstance(read_metadata(path), UnreadablePart)

    def write(self, key: str, rows: Iterable[Row], *, metadata: Mapping[str, Any]) -> Path:
        """Check the rows and write them as the unit's part, at once; an older part of that key is replaced.

        Args:
            metadata: what JSON can hold. `commit` (text), `machine` and `software` (mappings), `warnings` (list of
                text) and `mixers` (mixer -> title, abbreviation, palette_slot) come back in `read().attrs`.

        Raises:
            TableError: rows that break the schema, or none. OutputError: no space, no permission.
        """
        path, frame = self._path(key), frame_of(rows)
        if frame.empty:
            raise TableError("at least one row in a part", "none", "record a 'skipped' row with the reason")
        if not self.parts.is_dir():
            self.require_writable()
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

        With `keys`, of these parts alone; one that is not there adds nothing.

        `attrs`, from the parts' metadata: mixers (mixer -> title, abbreviation, palette_slot), commits (commit ->
        rows), machines, software and warnings (lists without doubles), unreadable (list of UnreadablePart).

        Raises:
            TableError: no store, a part of a newer schema, or rows that break the schema.
        """
        if not self.parts.is_dir():
            raise TableError("a result store", f"{str(self.folder)!r}", "name the folder given to --out")
        wanted = None if keys is None else set(keys)
        files = [path for path in self._files() if wanted is None or path.stem in wanted]
        with ThreadPoolExecutor(READERS) as pool:
            results = list(pool.map(read_part, files))
        good = [result for result in results if not isinstance(result, UnreadablePart)]
        table = pa.concat_tables([t.replace_schema_metadata(None) for t, _ in good] or [ARROW_SCHEMA.empty_table()])
        dtypes = {pa.string(): pd.StringDtype(), pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
        frame = table.to_pandas(types_mapper=dtypes.get)
        frame = check(frame.sort_values("created_utc", kind="stable", ignore_index=True), str(self.folder))
        frame.attrs.update(_attributes([(t.num_rows, metadata) for t, metadata in good]))
        frame.attrs["unreadable"] = [result for result in results if isinstance(result, UnreadablePart)]
        return frame

    def _files(self) -> list[Path]:
        return sorted(path for path in self.parts.glob("*.parquet") if "." not in path.stem)

    def _path(self, key: str) -> Path:
        if not key or not all(letter.isalnum() or letter in "-_" for letter in key):
            raise TableError("a unit's key (unit_key)", repr(key), "use letters, digits, - and _")
        return self.parts / f"{key}.parquet"


def _attributes(parts: list[tuple[int, dict[str, Any]]]) -> dict[str, Any]:
    mixers: dict[str, Any] = {}
    commits: Counter[str] = Counter()
    lists: dict[str, list[Any]] = {"machines": [], "software": [], "warnings": []}
    for rows, metadata in parts:
        mixers.update(metadata.get("mixers") or {})
        commits[str(metadata.get("commit") or "unknown")] += rows
        found = [("machines", [metadata.get("machine")]), ("software", [metadata.get("software")])]
        for name, values in [*found, ("warnings", metadata.get("warnings") or [])]:
            lists[name] += [value for value in values if value and value not in lists[name]]
    return {"mixers": mixers, "commits": dict(commits), **lists}


def read(folder: str | Path) -> pd.DataFrame:
    """All rows of a store's folder; see `Store.read`."""
    return Store(folder).read()
