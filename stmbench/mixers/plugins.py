"""A user's own mixer in one file: `--plugin my_mixer.py`, or an entry point of the group `stmbench.mixers`.

A plug-in is code, so only files that the user named, and packages that the user installed, are run. A plug-in that
cannot be used leaves the registry as it was.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import importlib.util
import re
import sys
import traceback
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from stmbench.errors import DuplicateNameError, InputError, PluginError, printable
from stmbench.mixers.base import MIXERS, BlockPosition, MixerConfig, MixerEntry
from stmbench.mixers.naming import require_name

GROUP = "stmbench.mixers"
_PROBE_MAPS = ((14, 14), (7, 9))  # (H, W) a mixer is tried on before it is let in
_LOADED: dict[Path, tuple[str, tuple[str, ...]]] = {}  # file -> its SHA-256, and the names it registered
_ENTRY_POINTS_SEEN: set[str] = set()


class PluginWarning(UserWarning):
    """An installed plug-in that cannot be used and was skipped."""


def load_plugins(paths: Iterable[Path | str] | None = None) -> list[str]:
    """Load the installed entry points and then the files named; returns the names that the files registered.

    Raises PluginError for a file (see `load_plugin`); a broken entry point is a PluginWarning.
    """
    load_entry_points()
    return [name for path in paths or () for name in load_plugin(path)]


def loaded_files() -> list[Path]:
    """The plug-in files in use, in the order of loading: what a child process has to load too."""
    return list(_LOADED)


def load_plugin(path: Path | str, *, try_out: bool = True) -> tuple[str, ...]:
    """Run one Python file and return the names of the mixers that it registered.

    Loading the same file again does nothing. The file's SHA-256 is put on its entries (`plugin_sha256`).

    Args:
        path: the file.
        try_out: run each mixer on two small maps; without it only what the entry says is checked (the conformance
            suite wants to look at mixers that fail).

    Raises:
        PluginError: the file does not exist, does not import, registers nothing, repeats a name, registers what is not
            a module, or registers a mixer that does not keep the shape.
    """
    file, shown = Path(path).expanduser().resolve(), str(path)
    try:
        source = file.read_bytes()
    except OSError as error:
        raise PluginError("a Python file", f"{shown} ({error.strerror})", "check the path given to --plugin") from error
    digest = hashlib.sha256(source).hexdigest()
    if file in _LOADED:
        known, names = _LOADED[file]
        if known != digest:
            raise PluginError(f"{shown} as it was loaded", "a changed file", "start a new process to use the new one")
        return names
    copies = [(place, names) for place, (known, names) in _LOADED.items() if known == digest and not place.exists()]
    for place, names in copies:  # the same code, in a folder that is gone: a task that came from another machine
        del _LOADED[place]
        _LOADED[file] = (digest, names)
        return names
    module_name = f"stmbench_plugin_{_identifier(file.stem)}_{digest[:12]}"
    with _restored_on_failure(module_name) as before:
        _run(file, source, shown, module_name)
        names = _admit(before, shown, digest, try_out=try_out)
    _LOADED[file] = (digest, names)
    return names


def load_entry_points() -> None:
    """Import what installed packages offer under the group `stmbench.mixers`, each once; a broken one is skipped."""
    for point in importlib.metadata.entry_points(group=GROUP):
        key = f"{point.name} = {point.value}"
        if key in _ENTRY_POINTS_SEEN:
            continue
        _ENTRY_POINTS_SEEN.add(key)
        try:
            with _restored_on_failure(point.module) as before:
                point.load()
                file = getattr(sys.modules.get(point.module), "__file__", None)
                digest = hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else None
                _admit(before, f"the entry point {key}", digest)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # sys.exit is no reason to leave either
            reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
            warnings.warn(f"the installed plug-in {key} was skipped: {reason}", PluginWarning, stacklevel=2)


def _run(file: Path, source: bytes, shown: str, module_name: str) -> None:
    spec = importlib.util.spec_from_file_location(module_name, file)
    if spec is None:
        raise PluginError("a Python file (.py)", shown, "rename the file, or name the right one")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses and pickle look classes up here
    try:
        # the bytes that were hashed are the bytes that run; no __pycache__ is left beside the user's file
        exec(compile(source, str(file), "exec", dont_inherit=True), module.__dict__)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        place = _place(error, file, shown)
        if isinstance(error, DuplicateNameError):
            taken = str(error).partition(";")[0]
            raise PluginError("a mixer name that is free", f"{place}: {taken}", "rename the mixer") from error
        if isinstance(error, InputError):
            raise PluginError(error.expected, f"{error.got} at {place}", error.remedy) from error
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise PluginError("a plug-in that imports", f"{what} at {place}", "mend that line") from error


def _admit(before: set[str], source: str, digest: str | None, *, try_out: bool = True) -> tuple[str, ...]:
    """Check the entries that are new since `before`, and stamp them with the hash of the code they come from."""
    names = tuple(name for name in MIXERS if name not in before)
    if not names:
        raise PluginError(
            f"a mixer registered by {source}", "none", "decorate its class with @register_mixer(NAME, config=...)"
        )
    for name in names:
        entry = MIXERS.get(name)
        _check_facts(entry)
        if try_out:
            _check_shape(entry)
        MIXERS.unregister(name)
        MIXERS.register(name, dataclasses.replace(entry, plugin_sha256=digest))
    return names


def _check_facts(entry: MixerEntry) -> None:
    name = entry.name
    require_name(name)
    if not (isinstance(entry.module, type) and issubclass(entry.module, nn.Module)):
        raise PluginError(f"a torch.nn.Module class for {name}", repr(entry.module), "derive the class from nn.Module")
    if not (isinstance(entry.config, type) and issubclass(entry.config, MixerConfig)):
        raise PluginError(
            f"a config of {name} derived from MixerConfig", repr(entry.config), "write class Config(MixerConfig)"
        )
    for fact in ("title", "abbreviation", "method", "citation"):
        text = getattr(entry, fact) or ""
        if printable(text) != text or "\n" in text:
            raise PluginError(f"{fact} of {name} in letters that are seen", repr(text), "take the others out")
    for fact, allowed in (("sampling", ("local", "global", "learned")), ("weights", ("static", "dynamic", "both"))):
        if getattr(entry, fact) not in allowed:
            raise PluginError(f"{fact} of {name} among {', '.join(allowed)}", repr(getattr(entry, fact)), "change it")


def _check_shape(entry: MixerEntry) -> None:
    name = entry.name
    dim = entry.channel_multiple * -(-64 // entry.channel_multiple)  # 64 channels, rounded up to the multiple
    remedy = f"run `stmbench check` on the file of {name}"
    for height, width in _PROBE_MAPS:
        shape = (1, height, width, dim)
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                module = entry.build(BlockPosition(stage=2, block=1, dim=dim, resolution=(14, 14))).eval()
                found = module(torch.randn(shape))
        except KeyboardInterrupt:
            raise
        except InputError as error:
            raise PluginError(error.expected, f"{error.got} in {name}", error.remedy) from error
        except BaseException as error:
            what = f"{type(error).__name__}: {error}"
            raise PluginError(f"{name} to map {shape} to {shape}", what, remedy) from error
        got = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
        if got != shape:
            raise PluginError(f"{name} to map {shape} to {shape}", str(got), "return (B, H, W, C), as it came")


@contextmanager
def _restored_on_failure(module_name: str) -> Iterator[set[str]]:
    """Names registered before; on failure only these are left, and the module is forgotten."""
    before, imported = set(MIXERS), module_name in sys.modules
    try:
        yield before
    except BaseException:
        for name in set(MIXERS) - before:
            MIXERS.unregister(name)
        if not imported:
            sys.modules.pop(module_name, None)
        raise


def _place(error: BaseException, file: Path, shown: str) -> str:
    """`file:line` of the plug-in's own line that failed."""
    if isinstance(error, SyntaxError) and error.filename == str(file):
        return f"{shown}:{error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return f"{shown}:{lines[-1]}" if lines else shown


def _identifier(text: str) -> str:
    return re.sub(r"\W", "_", text)
