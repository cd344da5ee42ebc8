"""What a store's frame knows beside its rows, from the metadata of its parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from stmbench.tables.parts import Part
from stmbench.tables.rows import SharedDict, SharedList
from stmbench.tables.trainings import ATTRIBUTE as TRAININGS
from stmbench.tables.trainings import trainings_of

# columns that the attrs, the order of rows and the search for damaged artifacts need
NEEDED = ("run_id", "created_utc", "analysis", "model", "weights", "value", "artifact")
OUTPUTS = "outputs"  # of a store's frame: (analysis, model, weights) -> outputs of the head


def attributes_of(parts: Sequence[Part]) -> dict[str, Any]:
    """The `attrs` that `Store.read` documents, but for what is unreadable."""
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
        facts = [("machines", [metadata.get("machine")]), ("software", [metadata.get("software")])]
        for name, values in [*facts, ("warnings", metadata.get("warnings") or [])]:
            lists[name] += [value for value in values if value and value not in lists[name]]
        if metadata.get("machine"):
            index = lists["machines"].index(metadata["machine"])
            machine_of_run.update(dict.fromkeys(map(str, table["run_id"].unique().to_pylist()), index))
    runs = {"machine_of_run": machine_of_run, "faint_mixers": faint, TRAININGS: trainings, OUTPUTS: outputs}
    shared: dict[str, Any] = {"mixers": mixers, "commits": commits, **runs}
    for name in ("machines", "software"):
        lists[name] = [SharedDict(facts) for facts in lists[name]]
    return {
        **{name: SharedDict(value) for name, value in shared.items()},
        **{name: SharedList(value) for name, value in lists.items()},
    }


def _outputs_of(table: pa.Table, metadata: Mapping[str, Any]) -> dict[tuple[str, str, str], int]:
    known = metadata.get(OUTPUTS)
    if not known:
        return {}
    columns = (table[name].to_pylist() for name in ("analysis", "model", "weights"))
    return {key: known[key[1]] for key in zip(*columns, strict=True) if key[1] in known}
