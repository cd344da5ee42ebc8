"""One small registry: a name, an entry; duplicates raise, unknown names get suggestions."""

from __future__ import annotations

import fnmatch
import glob
import keyword
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

from stmbench.errors import DuplicateNameError, PluginError, UnknownNameError, with_article

T = TypeVar("T")
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_REGISTRIES: list[Registry[Any]] = []
_RECORDS: list[list[tuple[Registry[Any], str]]] = []
_LOADING = threading.RLock()  # one for all registries, whose modules need one another


def matches(pattern: str, *texts: str) -> bool:
    """Whether any text matches a shell pattern or, if the pattern has no `*` or `?`, contains it; case is ignored."""
    lowered = pattern.lower()
    wanted = lowered if "*" in lowered or "?" in lowered else f"*{glob.escape(lowered)}*"
    return any(fnmatch.fnmatchcase(text.lower(), wanted) for text in texts)


class Admit(Protocol[T]):
    """What an entry of a plug-in has to pass: returns the entry to keep, or raises PluginError."""

    def __call__(self, entry: T, sha256: str | None, *, try_out: bool) -> T:
        """`sha256` is that of the plug-in's files; without `try_out` only what the entry declares is checked."""


class Registry(Generic[T]):
    """Names of one kind (`mixer`, `architecture`) and their entries.

    Args:
        kind: what an entry is called in messages.
        load: called once, before the first lookup: imports the modules that register the built-in entries, so that
            importing the registry itself costs nothing.
        admit: applied to every entry that a plug-in registers; by default it is kept as it is.
        forget: called with every entry that is removed, for what was registered along with it.
    """

    def __init__(
        self,
        kind: str,
        load: Callable[[], None] | None = None,
        *,
        admit: Admit[T] | None = None,
        forget: Callable[[T], None] | None = None,
    ) -> None:
        self.kind = kind
        self.admit = admit
        self._forget = forget
        self.origins: dict[str, str] = {}  # name -> module, for the entries that were registered outside stmbench
        self._entries: dict[str, T] = {}
        self._changes = 0
        self._load = load
        self._is_loaded = load is None
        self._listeners: list[Callable[[str], None]] = []
        _REGISTRIES.append(self)

    def register(self, name: str, entry: T) -> None:
        """Add `entry`; raises DuplicateNameError if the name is taken."""
        module = _importing_module()
        is_foreign = not module.startswith("stmbench.")
        if is_foreign:
            self._ensure_loaded()  # so that no built-in name can be taken
        if name in self._entries:
            raise DuplicateNameError(f"the {self.kind} {name!r} is registered already; give yours another name")
        self._entries[name] = entry
        self._changes += 1
        if is_foreign:
            self.origins[name] = module
            if _RECORDS:
                _RECORDS[-1].append((self, name))
        for listener in self._listeners:
            listener(name)

    def replace(self, name: str, entry: T) -> None:
        """Another entry under a registered name, in the same place of the order."""
        assert name in self._entries, name
        self._entries[name] = entry
        self._changes += 1

    def arrange(self, names: Iterable[str]) -> None:
        """Put registered names first, in this order: that of listings, whichever module was imported first."""
        self._entries = {name: self._entries[name] for name in names} | self._entries
        self._changes += 1

    def subscribe(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with every registered name, and with every later one as it is registered."""
        self._ensure_loaded()
        for name in list(self._entries):
            listener(name)
        self._listeners.append(listener)

    def unregister(self, name: str) -> None:
        """Forget a name, if it is there (a plug-in that failed its checks, a test's entry)."""
        self.origins.pop(name, None)
        if name in self._entries:
            entry = self._entries.pop(name)
            self._changes += 1
            if self._forget is not None:
                self._forget(entry)

    def get(self, name: str) -> T:
        """The entry; raises UnknownNameError with the nearest names if there is none."""
        self._ensure_loaded()
        if name not in self._entries:
            raise UnknownNameError(self.kind, name, self._entries)
        return self._entries[name]

    @property
    def changes(self) -> int:
        """How often the entries have changed: what was made from them holds as long as this is the same."""
        self._ensure_loaded()
        return self._changes

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
        if self._is_loaded:
            return
        with _LOADING:  # other threads wait, and the one that loads finds what is there already
            if self._load is not None:
                load, self._load = self._load, None
                load()
                self._is_loaded = True


@contextmanager
def recorded() -> Iterator[list[tuple[Registry[Any], str]]]:
    """What modules outside stmbench register, in any registry, while the block runs; the innermost block records it."""
    _RECORDS.append([])
    try:
        yield _RECORDS[-1]
    finally:
        _RECORDS.pop()


def registered_by(module: str) -> list[tuple[Registry[Any], str]]:
    """What a module, or a module of that package, has registered so far, in any registry."""
    return [
        (registry, name)
        for registry in _REGISTRIES
        for name, origin in registry.origins.items()
        if origin == module or origin.startswith(f"{module}.")
    ]


def require_name(name: str, kind: str = "mixer") -> str:
    """The name itself, which becomes part of model names, options and file names.

    Raises:
        PluginError: it is not lower_case_with_underscores, or it is a keyword of Python's.
    """
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise PluginError(
            f"{with_article(kind)} name that is no Python keyword", repr(name), f"for instance {name}_{kind}"
        )
    if not _NAME.fullmatch(name):
        near = "_".join(re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()))
        remedy = f"for instance {near}" if _NAME.fullmatch(near) else f"for instance my_{kind}"
        raise PluginError(f"{with_article(kind)} name in lower case with underscores", repr(name), remedy)
    return name


def _importing_module() -> str:
    """Name of the innermost module that is being imported; "" if none is (a notebook's cell counts as a module)."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_name != "<module>":
        frame = frame.f_back  # type: ignore[assignment]
    return "" if frame is None else str(frame.f_globals.get("__name__", ""))
