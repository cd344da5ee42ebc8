"""The unit of work: what one part of a store is a function of."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stmbench.tables import Row


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unit:
    """One step of an analysis; its key is the hash of every field that its result depends on.

    Fields outside the key: `series`, and `derived`.
    """

    analysis: str
    definition: str
    task: str  # which step of the analysis: costs, rounds, ...
    models: tuple[str, ...]
    weights: tuple[str, ...]  # one per model: source and hash, or 'random:<seed>'
    conditions: Mapping[str, Any]
    seed: int
    machine: str | None = None  # identifier, for what depends on the machine
    plugins: Mapping[str, str] = dataclasses.field(default_factory=dict)  # mixer or timm model -> SHA-256
    packages: Mapping[str, str | None] = dataclasses.field(default_factory=dict)  # versions that change the result
    series: str = ""  # units that are measured afresh together, such as all blocks of one run; default: itself
    derived: bool = False  # a summary of other units: made again in every run, in place of the old one

    @functools.cached_property
    def key(self) -> str:
        """The name of the unit's part."""
        from stmbench.tables.store import unit_key

        facts = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del facts["series"], facts["derived"]
        return unit_key({name: dict(value) if isinstance(value, Mapping) else value for name, value in facts.items()})

    @property
    def is_timed(self) -> bool:
        """Whether the machine's state while it was measured belongs to the result."""
        return self.machine is not None and not self.derived

    @property
    def group(self) -> str:
        """What `--fresh` forgets together."""
        return self.series or self.key


def failures_in(unit: Unit, rows: Iterable[Row]) -> list[str]:
    """'what: why' for each reason of rows that failed, be it all of the unit or some of its models."""
    failed: dict[str, list[str]] = {}
    for row in rows:
        if row.status == "failed":
            failed.setdefault(str(row.reason), []).append(str(row.model))
    return [f"{unit.task} of {', '.join(dict.fromkeys(models))}: {reason}" for reason, models in failed.items()]


class Counted:
    """Units of work counted by their keys: those that were measured, and those that the store had."""

    made: Sequence[str]
    reused: Sequence[str]

    @property
    def measured(self) -> int:
        """How many units of work were done."""
        return len(self.made)

    @property
    def kept(self) -> int:
        """How many the store had."""
        return len(self.reused)


@dataclasses.dataclass(kw_only=True)
class Report(Counted):
    """What a run did: the keys of all parts it stands on, and what there is to say about them."""

    keys: list[str] = dataclasses.field(default_factory=list)
    made: list[str] = dataclasses.field(default_factory=list)  # keys of what this run measured
    reused: list[str] = dataclasses.field(default_factory=list)  # keys of what the store had before it
    failures: list[str] = dataclasses.field(default_factory=list)
    left_out: dict[str, str] = dataclasses.field(default_factory=dict)  # model that no width matches -> why
    notes: list[str] = dataclasses.field(default_factory=list)
    disturbances: dict[str, tuple[float, str]] = dataclasses.field(default_factory=dict)  # kind -> worst amount, words

    @property
    def undone(self) -> list[str]:
        """What failed and what was left out, a line 'what: why' for each."""
        return [*self.failures, *(f"{model}: {reason}" for model, reason in self.left_out.items())]

    @property
    def warnings(self) -> list[str]:
        """What speaks against the samples, the worst of each kind, and other notes."""
        return [*self.notes, *(text for _, text in self.disturbances.values())]

    def note(self, disturbances: list[dict[str, Any]]) -> None:
        """Take in what disturbed one unit."""
        for item in disturbances:
            worst = self.disturbances.get(item["kind"], (0.0, ""))
            self.disturbances[item["kind"]] = max(worst, (item["amount"], item["text"]))
