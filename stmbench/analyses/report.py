"""What a run of an analysis did, as its command tells it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any


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
    notes: list[str] = dataclasses.field(default_factory=list)
    disturbances: dict[str, tuple[float, str]] = dataclasses.field(default_factory=dict)  # kind -> worst amount, words

    @property
    def warnings(self) -> list[str]:
        """What speaks against the samples, the worst of each kind, and other notes."""
        return [*self.notes, *(text for _, text in self.disturbances.values())]

    def note(self, disturbances: list[dict[str, Any]]) -> None:
        """Take in what disturbed one unit."""
        for item in disturbances:
            worst = self.disturbances.get(item["kind"], (0.0, ""))
            self.disturbances[item["kind"]] = max(worst, (item["amount"], item["text"]))
