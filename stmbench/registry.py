"""One small registry: a name, a thing; duplicates raise, unknown names get suggestions."""

from __future__ import annotations

import fnmatch
import glob
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from stmbench.errors import DuplicateNameError, UnknownNameError

T = TypeVar("T")


def matches(pattern: str, *texts: str) -> bool:
    """Whether any text matches a shell pattern or, if the pattern has no `*` or `?`, contains it; case is ignored."""
    lowered = pattern.lower()
    wanted = lowered if "*" in lowered or "?" in lowered else f"*{glob.escape(lowered)}*"
    return any(fnmatch.fnmatchcase(text.lower(), wanted) for text in texts)


class Registry(Generic[T]):
    """Names of one kind (`mixer`, `architecture`) and what they stand for.

    `load` is called once, before the first lookup: it imports the modules that register the built-in entries, so that
    importing the registry itself costs nothing.
    """

    def __init__(self, kind: str, load: Callable[[], None] | None = None) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}
        self._load = load
        self._listeners: list[Callable[[str], None]] = []

    def register(self, name: str, entry: T) -> None:
        """Add `entry`; raises DuplicateNameError where the name is taken."""
        if name in self._entries:
            raise DuplicateNameError(f"the {self.kind} {name!r} is registered already; give yours another name")
        self._entries[name] = entry
        for listener in self._listeners:
            listener(name)

    def subscribe(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with every name there is, and with every later one as it is registered."""
        self._ensure_loaded()
        for name in list(self._entries):
            listener(name)
        self._listeners.append(listener)

    def unregister(self, name: str) -> None:
        """Forget a name, if it is there (a plug-in that failed its checks, a test's entry)."""
        self._entries.pop(name, None)

    def get(self, name: str) -> T:
        """The entry; raises UnknownNameError with the nearest names where there is none."""
        self._ensure_loaded()
        if name not in self._entries:
            raise UnknownNameError(self.kind, name, self._entries)
        return self._entries[name]

    def names(self, pattern: str = "*") -> list[str]:
        """Registered names that match a shell pattern, in the order of registration."""
        self._ensure_loaded()
        return [name for name in self._entries if fnmatch.fnmatchcase(name, pattern)]

    def __contains__(self, name: str) -> bool:
        self._ensure_loaded()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def _ensure_loaded(self) -> None:
        if self._load is not None:
            load, self._load = self._load, None
            load()
