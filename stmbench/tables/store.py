"""A store: a folder with one Parquet part per unit of work.

    <folder>/parts/<key>.parquet      the rows of one unit, with its metadata
    <folder>/parts/<key>.<name>       arrays of that unit (artifacts)

A part exists as a whole or not at all, so a killed run resumes where it left off: `has(key)` says what is done. A part
holds its own hash and those of its artifacts (`integrity`): a unit with damaged files is not done.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from stmbench.errors import OutputError, TableError
from stmbench.tables.files import ARTIFACTS, artifact_facts, artifact_fault, metadata_fault, remove_stale_temporaries
from stmbench.tables.parts import READERS, Part, UnreadablePart, read_metadata, read_part, read_parts, write_part
from stmbench.tables.rows import Row, frame_of, printable_frame
from stmbench.tables.trainings import ATTRIBUTE as TRAININGS
from stmbench.tables.trainings import trainings_of

OUTPUTS = "outputs"  # of a store's frame: (analysis, model, weights) -> outputs of the head


def unit_key(facts: Mapping[str, Any]) -> str:
    """The key of a unit of work: sha256, in hex, of everything its result depends on, as canonical JSON.

    The order of the facts does not matter, and a tuple equals its list. Raises TableError for a fact that JSON cannot
    hold.
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

    def require_writable(self) -> Store:
        """Create the folder if needed, remove temporary files of killed runs, and return self.

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
        remove_stale_temporaries(self.parts)
        return self

    def has(self, key: str) -> bool:
        """Whether the unit's part and its artifacts are as they were written; a damaged unit is measured again."""
        return self._path(key).is_file() and self.fault(key) is None

    def fault(self, key: str) -> str | None:
        """Which file of a unit is damaged, and how; None if all are intact, or there is none.

        Raises TableError for a part of a newer schema.
        """
        path = self._path(key)
        if not path.exists():
            return None
        stored = read_metadata(path)
        if isinstance(stored, UnreadablePart):
            return f"{stored.part}: {stored.reason}"
        for place, facts in self._artifacts(path, stored).items():
            reason = artifact_fault(self.folder / place, facts)
            if reason is not None:
                return f"{place}: {reason}"
        return None

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
        write_part(path, frame, metadata)
        return path

    def remove(self, key: str) -> None:
        """Remove a unit: its part first, then its artifacts. A missing unit is no error."""
        path = self._path(key)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        for artifact in self.parts.glob(f"{key}.*"):
            artifact.unlink(missing_ok=True)

    def keys(self, **metadata: Any) -> list[str]:
        """Keys of the readable parts, sorted; with arguments, only of parts whose metadata has these values."""
        names = []
        for path in self._files():
            stored = read_metadata(path)
            if isinstance(stored, dict) and all(stored.get(name) == value for name, value in metadata.items()):
                names.append(path.stem)
        return names

    def metadata(self, key: str) -> dict[str, Any]:
        """The part's metadata. Raises TableError if there is no readable part with that key."""
        stored = read_metadata(self._path(key))
        if isinstance(stored, UnreadablePart):
            raise TableError(f"a part of the key {key}", stored.reason, "run the unit again")
        return stored

    def artifact(self, key: str, name: str) -> Path:
        """The path of the unit's array `name`, next to its part. Write the array before the part."""
        if not name or Path(name).name != name or name == "parquet":
            raise TableError("an artifact's file name", repr(name), "use a plain name such as erf.npy")
        self._path(key)
        return self.parts / f"{key}.{name}"

    def place(self, path: Path) -> str:
        """The value of the column `artifact` for a file: its path relative to the folder, with forward slashes."""
        return path.relative_to(self.folder).as_posix()

    def read(self, keys: Iterable[str] | None = None) -> pd.DataFrame:
        """Every row of every readable part, from the oldest to the newest, as one checked data frame.

        With `keys`, only of these parts; a missing one adds nothing. If an artifact next to its part is damaged, its
        rows lose its name, and those without a value are left out.

        `attrs`, from the parts' metadata: mixers (mixer -> title, abbreviation, palette_slot), commits (commit ->
        rows), machines, software and warnings (lists without duplicates), machine_of_run (run_id -> index into
        machines), trainings (see `tables.trainings`), faint_mixers (model -> share of the residual stream, for models
        whose mixers hardly contribute to it), outputs ((analysis, model, weights) -> outputs of the head), unreadable
        (list of UnreadablePart: parts and artifacts that are damaged or gone).

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
        frame, parts = read_parts(files, str(self.folder))
        good = [part for part in parts if not isinstance(part, UnreadablePart)]
        frame.attrs.update(_attributes(good))
        frame.attrs["unreadable"] = [part for part in parts if isinstance(part, UnreadablePart)]
        return printable_frame(_without_damaged(self.folder, frame, [metadata for _, metadata in good]))

    def _artifacts(self, path: Path, metadata: dict[str, Any]) -> dict[str, dict[str, Any] | None]:
        """Path -> facts of a part's artifacts; parts of older versions hold no facts, only names in their rows."""
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


def _without_damaged(folder: Path, frame: pd.DataFrame, parts: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """The frame without damaged artifacts; weights, which no reader of tables opens, are not checked."""
    known = {path: facts for metadata in parts for path, facts in metadata.get(ARTIFACTS, {}).items()}
    arrays = {path: facts for path, facts in known.items() if path.startswith("parts/")}
    with ThreadPoolExecutor(READERS) as pool:
        faults = list(pool.map(lambda item: artifact_fault(folder / item[0], item[1]), arrays.items()))
    damaged = {path: fault for path, fault in zip(arrays, faults, strict=True) if fault is not None}
    if not damaged:
        return frame
    lost = frame["artifact"].isin(list(damaged))
    frame.loc[lost, "artifact"] = pd.NA
    kept = frame[~(lost & frame["value"].isna())].reset_index(drop=True)
    named = [UnreadablePart(path.removeprefix("parts/"), why) for path, why in damaged.items()]
    kept.attrs = {**frame.attrs, "unreadable": [*frame.attrs["unreadable"], *named]}
    return kept


def _attributes(parts: Sequence[Part]) -> dict[str, Any]:
    mixers: dict[str, Any] = {}
    faint: dict[str, float] = {}
    trainings: dict[tuple[str, str], str] = {}
    outputs: dict[tuple[str, str, str], int] = {}
    commits: Counter[str] = Counter()
    lists: dict[str, list[Any]] = {"machines": [], "software": [], "warnings": []}
    machine_of_run: dict[str, int] = {}
    for table, metadata in parts:
        mixers.update(metadata.get("mixers") or {})
        faint.update(metadata.get("faint_mixers") or {})
        trainings.update(trainings_of(table, metadata))
        outputs.update(_outputs_of(table, metadata))
        commits[str(metadata.get("commit") or "unknown")] += table.num_rows
        single = [("machines", [metadata.get("machine")]), ("software", [metadata.get("software")])]
        for name, values in [*single, ("warnings", metadata.get("warnings") or [])]:
            lists[name] += [value for value in values if value and value not in lists[name]]
        if metadata.get("machine"):
            index = lists["machines"].index(metadata["machine"])
            machine_of_run.update(dict.fromkeys(map(str, table["run_id"].unique().to_pylist()), index))
    runs = {"machine_of_run": machine_of_run, "faint_mixers": faint, TRAININGS: trainings, OUTPUTS: outputs}
    return {"mixers": mixers, "commits": dict(commits), **lists, **runs}


def _outputs_of(table: pa.Table, metadata: Mapping[str, Any]) -> dict[tuple[str, str, str], int]:
    known = metadata.get(OUTPUTS)
    if not known:
        return {}
    columns = (table[name].to_pylist() for name in ("analysis", "model", "weights"))
    return {key: known[key[1]] for key in zip(*columns, strict=True) if key[1] in known}
