"""Stores and histories, made up and small."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stmbench.history import adding
from stmbench.history.adding import Commit
from stmbench.history.folder import History
from stmbench.tables import Row, Store
from tests.tables.frames import MIXERS, profile_rows

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
MACHINE = "0123456789ab"


def sha(number: int) -> str:
    """The made-up commit of a number."""
    return f"{number:04x}" + "c0ffee" * 6


def store(
    folder: Path,
    commit: str | None,
    *,
    rows: Iterable[Row] | None = None,
    machine: str = MACHINE,
    dirty: bool = False,
    key: str = "unit",
) -> Store:
    """A store with one part: a profile of two mixers, unless other rows are given."""
    made = Store(folder)
    metadata: dict[str, Any] = {
        "commit": commit,
        "machine_id": machine,
        "machine": {"cpu": "AMD EPYC", "cores": 2},
        "software": {"dirty": dirty},
        "mixers": MIXERS,
    }
    made.write(key, rows if rows is not None else profile_rows(["sw_attn", "dw_conv"], raw=False), metadata=metadata)
    return made


def known(name: str) -> Commit:
    """What git would say of a made-up commit: number n was made n hours after START, and its parent is n - 1."""
    number = int(name[:4], 16)
    date = START + datetime.timedelta(hours=number)
    return Commit(sha=name, parents=(sha(number - 1),) if number else (), date=date, subject=f"Change {number}")


def history(folder: Path, numbers: Iterable[int], **options: Any) -> History:
    """A history of made-up commits."""
    made = History(folder / "history")
    for number in numbers:
        adding.add(store(folder / f"store{number}", sha(number), **options), made, find=known)
    return made
