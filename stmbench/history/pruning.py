"""Which records are old enough to go."""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from stmbench.errors import UnknownNameError
from stmbench.history.record import Record


def old(
    records: Iterable[Record],
    *,
    keep: int | None = None,
    before: datetime.datetime | None = None,
    machine: str | None = None,
) -> list[Record]:
    """Records beyond the `keep` newest of their machine, or of a commit before a date, in the order given.

    Args:
        records: of each machine from the oldest to the newest, as `History.records` gives them.

    Raises UnknownNameError for a machine that has none.
    """
    by_machine: dict[str, list[Record]] = {}
    for record in records:
        by_machine.setdefault(record.facts.machine, []).append(record)
    if machine is not None and machine not in by_machine:
        raise UnknownNameError("machine of the history", machine, by_machine)
    chosen = []
    for name, own in by_machine.items():
        if machine is not None and name != machine:
            continue
        surplus = 0 if keep is None else max(0, len(own) - keep)
        chosen += [
            record
            for position, record in enumerate(own)
            if position < surplus or (before is not None and record.facts.date < before)
        ]
    return chosen
