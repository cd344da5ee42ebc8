"""Loading plug-ins: from files and folders (`--plugin`), and from the entry points of installed packages.

A plug-in that cannot be used leaves every registry as it was.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stmbench.errors import DuplicateNameError, InputError, PluginError, with_article
from stmbench.plugins import models
from stmbench.plugins.sources import Sources, forget, run, sources_of, sources_of_module
from stmbench.registry import Registry, recorded, registered_by

GROUPS = ("stmbench.mixers", "stmbench.models", "stmbench.analyses")  # of entry points; all are loaded alike
Entries = list[tuple[Registry[Any], str]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plugin:
    """A plug-in that was loaded.

    Attributes:
        path: the file or folder; None for an installed package.
        files: all of its files, the ones that it imports included.
        sha256: of these files; of the file's contents if there is one. None for a package without files.
        registered: kind -> names, in the order of registration. Kinds are those of the registries ("mixer",
            "analysis", ...) and "timm model".
    """

    path: Path | None
    files: tuple[Path, ...]
    sha256: str | None
    registered: Mapping[str, tuple[str, ...]]


class PluginWarning(UserWarning):
    """An installed plug-in that cannot be used and was skipped."""


_LOADED: dict[Path, tuple[Plugin, Sources]] = {}
_INSTALLED: dict[str, Plugin | None] = {}  # an entry point's module, and what it registered; None if it was skipped
_HASHES: dict[tuple[str, str], str | None] = {}  # (kind, name) -> SHA-256


def load_plugins(paths: Iterable[Path | str] | None = None) -> list[Plugin]:
    """Load the installed entry points, and then the files and folders named; returns the latter.

    Raises PluginError for a file (see `load_plugin`); a broken entry point is a PluginWarning.
    """
    load_entry_points()
    return [load_plugin(path) for path in paths or ()]


def loaded_paths() -> list[Path]:
    """The files and folders in use, in the order of loading: what a child process has to load too."""
    return list(_LOADED)


def sha256_of(kind: str, name: str) -> str | None:
    """The hash of the plug-in that registered a name of a kind; None for what comes with stmbench or timm."""
    return _HASHES.get((kind, name))


def load_plugin(path: Path | str, *, try_out: bool = True) -> Plugin:
    """Run a Python file, a package, or all Python files of a folder; returns what was registered.

    Loading the same again does nothing.

    Args:
        path: the file or folder.
        try_out: try what was registered (each mixer on two small maps); otherwise only what the entries declare is
            checked (the conformance suite examines mixers that fail).

    Raises:
        PluginError: it does not exist, does not import, registers nothing, repeats a name, or registers what its
            registry refuses.
    """
    place, shown = Path(path).expanduser().resolve(), str(path)
    sources = sources_of(path)
    if place in _LOADED:
        plugin, known = _LOADED[place]
        if known.sha256 != sources.sha256:
            raise PluginError(f"{shown} as it was loaded", "a changed file", "start a new process to use the new one")
        return plugin
    for other, (plugin, known) in list(_LOADED.items()):
        if known.sha256 == sources.sha256:  # the same code, elsewhere
            if not other.exists():  # in a folder that is gone: a task that came from another machine
                del _LOADED[other]
                plugin = dataclasses.replace(plugin, path=place)
                _LOADED[place] = plugin, known
            return plugin
    if sources.imports_timm:
        import timm  # noqa: F401  so that what it registers itself is there before
    try:
        with _recorded(shown) as (entries, timm_names):
            _run(sources, shown)
            _admit(entries, sources.sha256, try_out=try_out)
    except BaseException:
        forget(sources)
        raise
    files = tuple(file for file, _ in sources.modules.values())
    plugin = _noted(entries, timm_names, path=place, files=files, sha256=sources.sha256)
    _LOADED[place] = plugin, sources
    return plugin


def load_entry_points() -> None:
    """Import what installed packages offer under the entry point groups, each once; a broken one is skipped."""
    for point in _entry_points(importlib.metadata.entry_points, _search_path()):
        if point.module in _INSTALLED:
            continue
        _INSTALLED[point.module] = None
        source, imported = f"{point.name} = {point.value}", point.module in sys.modules
        try:
            with _recorded(f"the entry point {source}", point.module) as (entries, timm_names):
                point.load()
                sources = sources_of_module(sys.modules[point.module])
                sha256 = sources.sha256 if sources else None
                _admit(entries, sha256)
            files = tuple(file for file, _ in sources.modules.values()) if sources else ()
            _INSTALLED[point.module] = _noted(entries, timm_names, path=None, files=files, sha256=sha256)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # sys.exit is no reason to exit either
            if not imported:
                sys.modules.pop(point.module, None)
            reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
            warnings.warn(f"the installed plug-in {source} was skipped: {reason}", PluginWarning, stacklevel=2)


@functools.lru_cache(maxsize=1)
def _entry_points(
    find: Callable[..., Iterable[importlib.metadata.EntryPoint]], path: tuple[tuple[str, int], ...]
) -> list[importlib.metadata.EntryPoint]:
    """Those of our groups. Looking into every package takes 0.1 s, and each task of an experiment asks."""
    return [point for group in GROUPS for point in find(group=group)]


def _search_path() -> tuple[tuple[str, int], ...]:
    """The folders that Python imports from, and when something was last installed into each."""
    return tuple((folder, os.stat(folder).st_mtime_ns if os.path.exists(folder) else 0) for folder in sys.path)


def unload_plugins() -> None:
    """Forget every plug-in that was loaded from a file, and all that plug-ins registered."""
    from stmbench.registry import _REGISTRIES

    for registry in _REGISTRIES:
        for name in [name for kind, name in _HASHES if kind == registry.kind]:
            registry.unregister(name)
    for name in models.timm_models():
        models.remove(name)
    for _, sources in _LOADED.values():
        forget(sources)
    for table in (models.MODELS, _LOADED, _HASHES):
        table.clear()


@contextmanager
def _recorded(source: str, module: str | None = None) -> Iterator[tuple[Entries, list[str]]]:
    """What is registered in the block, and what `module` registered before; on failure all of it is taken back.

    The lists are complete when the block ends; the first one already within it.
    """
    entries: Entries = []
    earlier = [(r, name) for r, name in registered_by(module) if (r.kind, name) not in _HASHES] if module else []
    names = [name for name in models.models_of(module) if name not in models.MODELS] if module else []
    try:
        with models.recorded_models(source) as new, recorded() as entries:
            entries += earlier
            yield entries, names
        names += [name for name in new if name not in models.MODELS]  # entry points may have been loaded within
        if not entries and not names:
            remedy = "use @register_mixer(NAME, config=...), timm's @register_model or register_analysis(...)"
            raise PluginError(f"a mixer, a model or an analysis registered by {source}", "none", remedy)
    except BaseException:
        for registry, name in entries:
            registry.unregister(name)
        raise


def _admit(entries: Entries, sha256: str | None, *, try_out: bool = True) -> None:
    """Have each registry check its new entries."""
    for registry, name in entries:
        if registry.admit is not None:
            registry.replace(name, registry.admit(registry.get(name), sha256, try_out=try_out))


def _noted(
    entries: Entries, timm_names: list[str], *, path: Path | None, files: tuple[Path, ...], sha256: str | None
) -> Plugin:
    by_kind: dict[str, list[str]] = {}
    for kind, name in [*((r.kind, name) for r, name in entries), *((models.TIMM_MODEL, name) for name in timm_names)]:
        by_kind.setdefault(kind, []).append(name)
        _HASHES[kind, name] = sha256
    models.MODELS.update(dict.fromkeys(timm_names, sha256))
    registered = {kind: tuple(names) for kind, names in by_kind.items()}
    return Plugin(path=path, files=files, sha256=sha256, registered=registered)


def _run(sources: Sources, shown: str) -> None:
    """Import the plug-in; whatever it raises becomes one line that names the file and the line."""
    try:
        run(sources)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        line = _line(error, sources, shown)
        if isinstance(error, DuplicateNameError):
            taken = str(error).partition(";")[0]
            kind = taken.split(" '")[0].removeprefix("the ")
            raise PluginError(
                f"{with_article(kind)} name that is free", f"{line}: {taken}", f"rename the {kind}"
            ) from error
        if isinstance(error, InputError):
            raise PluginError(error.expected, f"{error.got} at {line}", error.remedy) from error
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise PluginError("a plug-in that imports", f"{what} at {line}", "fix that line") from error


def _line(error: BaseException, sources: Sources, shown: str) -> str:
    """`file:line` of the plug-in's own line that failed; a file beside it is named relative to the one given."""
    files = {str(file): file for file, _ in sources.modules.values()}
    if isinstance(error, SyntaxError) and error.filename in files:
        file, number = error.filename, error.lineno
    else:
        lines = [(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__) if f.filename in files]
        if not lines:
            return shown
        file, number = lines[-1]
    relative = files[file].relative_to(sources.root)
    folder = Path(shown).expanduser()
    if folder.is_dir():
        return f"{folder / relative}:{number}"
    return f"{shown if relative.name == folder.name else folder.parent / relative}:{number}"
