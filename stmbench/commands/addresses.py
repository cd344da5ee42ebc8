"""Stores at addresses (s3://bucket/store) on the command line: fetched before a command, sent when it ends."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import typer

from stmbench.commands import session
from stmbench.errors import ConfigError, InputError
from stmbench.tables.object_storage import is_address

_WAS_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/(?!/)")  # as a path, an address has lost a slash


def store_folder(place: str | Path) -> Path:
    """The folder of a store from what a user gives; of an address the mirror's, whose tables `fetch` brings."""
    if isinstance(place, Path) or not is_address(place):
        return Path(place)
    from stmbench.tables.addresses import mirror_at

    mirror = mirror_at(place)
    if mirror not in session.current().mirrors:
        session.current().mirrors.append(mirror)
    return mirror.folder


def fetch() -> None:
    """Fetch the tables of the stores that the command line named by address, and say so where that was any."""
    for mirror in session.current().mirrors:
        count = mirror.pull()
        if count:
            typer.echo(f"fetched {count:,} {'file' if count == 1 else 'files'} of {mirror.address}", err=True)


@contextlib.contextmanager
def fetched_and_sent() -> Iterator[None]:
    """Fetch the stores that the command line named by address, and send what is new when the block ends, or fails."""
    if not session.current().mirrors:
        yield
        return
    from stmbench.tables.addresses import sent_at_the_end

    fetch()
    with sent_at_the_end():
        yield


def require_paths(values: Mapping[str, Any]) -> None:
    """Raises ConfigError for an address where a path of this machine is meant: it would become a folder `s3:`."""
    for name, value in values.items():
        for path in value if isinstance(value, list | tuple) else [value]:
            if isinstance(path, Path) and _WAS_ADDRESS.match(str(path)):
                option, address = name.replace("_", "-"), str(path).replace(":/", "://", 1)
                remedy = "stores and data sets can be at addresses, other files not"
                raise ConfigError(f"a path on this machine for {option}", address, remedy)


def refresh(folder: Path) -> None:
    """Fetch what is new of a store that is watched, trainings under way included; a failure is tried again later."""
    from stmbench.tables.addresses import is_progress, mirror_of

    mirror = mirror_of(folder)
    if mirror is not None:
        with contextlib.suppress(InputError):
            mirror.pull(also=is_progress)


def shown(path: Path) -> str:
    """A store's path for people: the address, where the store has one."""
    if not session.current().mirrors:
        return str(path)
    from stmbench.tables import addresses

    return addresses.shown(path)
