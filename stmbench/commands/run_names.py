"""Names of a run's figures and page: those of an earlier run in the same folder, in another setting, stay."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any, Final

import pandas as pd

from stmbench.tables.writing import write_file

RECORD: Final = "figures.json"  # name -> what the run that has it was made of
FACETS: Final = (
    *("resolution", "batch_size", "dtype", "compile", "device", "dataset", "split", "num_images", "definition"),
    *("weights", "model"),
)
LONGEST: Final = 40  # letters of one facet in a name, beyond which values are counted
Facts = dict[str, list[str]]


class RunNames:
    """Which names a run may write in a store's folder.

    The first run has the plain ones (`throughput`). A later one that differs in setting or models has its own, made of
    what differs (`throughput-64_px-batch_1`); the same run done again has those that it had.
    """

    def __init__(self, folder: Path, frame: pd.DataFrame, *, shown: str | None = None) -> None:
        """`shown` is the definition that is drawn, where the rows have several."""
        self._file, self._facts = folder / RECORD, _facts(frame)
        if shown is not None:
            self._facts["definition"] = [shown]
        self._taken = _read(self._file)

    def of(self, name: str, *files: Path) -> str:
        """The name for this run's figure or page `name`, which `files` would have without it."""
        first = self._taken.get(name, {} if any(file.exists() for file in files) else self._facts)
        chosen = name + "".join(f"-{_words(facet, self._facts)}" for facet in FACETS if self._differs(facet, first))
        self._taken[chosen] = self._facts
        return chosen

    def keep(self) -> None:
        """Remember the names given. Raises OutputError where the folder cannot be written."""
        write_file(self._file, json.dumps(self._taken, indent=1, sort_keys=True) + "\n")

    def _differs(self, facet: str, first: Facts) -> bool:
        return self._facts[facet] != first.get(facet)


def _facts(frame: pd.DataFrame) -> Facts:
    found = {facet: sorted({str(value) for value in frame[facet].dropna()}) for facet in FACETS}
    if found["resolution"]:  # noise has a name for its size, which the resolution has said
        found["dataset"] = [name for name in found["dataset"] if not name.startswith("noise:")]
    return found


def _words(facet: str, facts: Facts) -> str:
    values = facts[facet]
    text = "+".join(values) or "none"
    if len(text) > LONGEST:
        text = f"{len(values)}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    shown = {"resolution": f"{text} px", "batch_size": f"batch {text}", "compile": f"compiled {text}"}
    return re.sub(r"[^A-Za-z0-9.+=]+", "_", shown.get(facet, text)).strip("_.")


def _read(file: Path) -> dict[str, Facts]:
    """What was remembered; nothing where the file is not there or not ours."""
    try:
        found: Any = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    good = isinstance(found, dict) and all(isinstance(facts, dict) for facts in found.values())
    return found if good else {}
