"""The unit of work: what one part of a store is a function of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from stmbench.tables.store import unit_key


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

    @property
    def key(self) -> str:
        """The name of the unit's part."""
        facts = dataclasses.asdict(self)
        del facts["series"], facts["derived"]
        return unit_key(facts)

    @property
    def is_timed(self) -> bool:
        """Whether the machine's state while it was measured belongs to the result."""
        return self.machine is not None and not self.derived

    @property
    def group(self) -> str:
        """What `--fresh` forgets together."""
        return self.series or self.key
