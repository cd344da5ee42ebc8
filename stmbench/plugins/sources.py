"""The files of a plug-in: the one that was named, and those beside it that it imports.

`import helper` in `my_mixer.py` means `helper.py` beside it, or the package `helper/`; relative imports mean the same.
Imports are found by reading the files, not by running them, so that the hash is known first and does not depend on what
happens to be imported. Every plug-in has module names of its own (`stmbench_plugin_my_mixer_<hash>.helper`): two
plug-ins may both have a `helper.py`.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType

from stmbench.errors import PluginError

# names that always mean the installed package, whatever lies beside the plug-in
_INSTALLED = frozenset({*sys.stdlib_module_names, "stmbench", "torch", "torchvision", "timm", "numpy"})
_IN_USE: dict[str, Sources] = {}  # module name -> the plug-in's files


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sources:
    """The files of one plug-in. Modules are named relative to `root`; "" is the plug-in's own module.

    Attributes:
        root: the folder in which its imports are looked up.
        own_name: the name under which its files may import the plug-in itself.
        is_open: whether any module of `root` may be imported by its plain name, or only as `own_name.module`.
        start: the modules that are run, in order.
        modules: all of them, with their files and contents.
    """

    root: Path
    own_name: str
    is_open: bool
    start: tuple[str, ...]
    modules: Mapping[str, tuple[Path, bytes]]

    @property
    def sha256(self) -> str:
        """Of the file's contents; of several files, of their relative paths and hashes, in alphabetical order."""
        digests = {
            file.relative_to(self.root).as_posix(): hashlib.sha256(content).hexdigest()
            for file, content in self.modules.values()
        }
        if len(digests) == 1:
            return next(iter(digests.values()))
        lines = "".join(f"{digests[place]}  {place}\n" for place in sorted(digests))
        return hashlib.sha256(lines.encode()).hexdigest()

    @property
    def module_name(self) -> str:
        """The name of its own module in this process."""
        return f"stmbench_plugin_{re.sub(r'[^0-9A-Za-z_]', '_', self.own_name)}_{self.sha256[:12]}"

    @property
    def imports_timm(self) -> bool:
        """Whether any of its files imports timm."""
        return any(
            name.split(".")[0] == "timm"
            for relative, (file, content) in self.modules.items()
            for name in _imported(content, relative, is_package=file.name == "__init__.py")
        )

    def relative(self, dotted: str) -> str | None:
        """A module that a file imports, relative to the root; None if it is not one of the plug-in's."""
        first, _, rest = dotted.partition(".")
        if first in _INSTALLED:
            return None
        if first == self.own_name:
            return rest
        return dotted if self.is_open and _files(self.root, first) else None


def sources_of(path: Path | str) -> Sources:
    """The files of a plug-in: a Python file, a package, or a folder whose Python files are all run.

    Raises:
        PluginError: no such file or folder, a file of another kind, or a folder without Python files.
    """
    place, shown = Path(path).expanduser().resolve(), str(path)
    if place.is_dir():
        if (place / "__init__.py").is_file():
            return _collected(place, place.name, {"": place / "__init__.py"}, shown)
        files = {file.stem: file for file in sorted(place.glob("*.py")) if file.stem.isidentifier()}
        if not files:
            raise PluginError("a folder with Python files", shown, "check the path given to --plugin")
        return _collected(place, place.name, files, shown)
    if place.exists() and place.suffix != ".py":
        raise PluginError("a Python file (.py) or a folder", shown, "rename the file, or name the right one")
    return _collected(place.parent, place.stem, {"": place}, shown)


def sources_of_module(module: ModuleType) -> Sources | None:
    """The files of an imported module and those of its package that it imports; None for a module without a file."""
    if not getattr(module, "__file__", None):
        return None
    file = Path(str(module.__file__)).resolve()
    package, *inner = module.__name__.split(".")
    depth = len(inner) + (file.name == "__init__.py")
    root = file.parents[max(depth, 1) - 1]
    return _collected(root, package, {".".join(inner): file}, str(file), is_open=False, alone=depth == 0)


def carried_files(path: Path | str) -> tuple[str, dict[str, Path]]:
    """What another machine needs to load a plug-in: its path there, and relative path -> file.

    Paths are relative to one folder: ("my_mixer.py", {"my_mixer.py": ..., "helper.py": ...}).
    Raises PluginError as `sources_of` does.
    """
    sources, place = sources_of(path), Path(path).expanduser().resolve()
    above = place.parent
    return place.name, {file.relative_to(above).as_posix(): file for file, _ in sources.modules.values()}


def _collected(
    root: Path, own_name: str, start: Mapping[str, Path], shown: str, *, is_open: bool = True, alone: bool = False
) -> Sources:
    """`start`, and every file that these import, directly or not, unless they stand `alone`."""
    modules: dict[str, tuple[Path, bytes]] = {}
    sources = Sources(root=root, own_name=own_name, is_open=is_open, start=tuple(start), modules=modules)
    waiting = dict(start)
    while waiting:
        name, file = waiting.popitem()
        try:
            content = file.read_bytes()
        except OSError as error:
            raise PluginError(
                "a Python file", f"{shown} ({error.strerror})", "check the path given to --plugin"
            ) from error
        modules[name] = file, content
        if alone:
            continue
        for dotted in _imported(content, name, is_package=file.name == "__init__.py" or name == ""):
            local = dotted.removeprefix(".") if dotted.startswith(".") else sources.relative(dotted)
            if local is not None:
                waiting |= {inner: beside for inner, beside in _files(root, local).items() if inner not in modules}
    return sources


def _files(root: Path, dotted: str) -> dict[str, Path]:
    """The files that importing a module runs: the packages on the way, and itself; nothing for other names."""
    folder, parts = root, [part for part in dotted.split(".") if part]
    if not parts:
        return {"": root / "__init__.py"} if (root / "__init__.py").is_file() else {}
    files: dict[str, Path] = {}
    for depth, part in enumerate(parts, start=1):
        package, module = folder / part / "__init__.py", folder / f"{part}.py"
        file = package if package.is_file() else module
        if not file.is_file():
            break
        files[".".join(parts[:depth])] = file
        if file == module:
            break
        folder /= part
    return files


@functools.lru_cache(maxsize=256)  # each task of a run asks whether its plug-ins are as they were loaded
def _imported(content: bytes, name: str, *, is_package: bool) -> tuple[str, ...]:
    """Dotted names that a module imports; those relative to the root begin with a dot."""
    return tuple(_imports(content, name, is_package=is_package))


def _imports(content: bytes, name: str, *, is_package: bool) -> Iterator[str]:
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return  # running it says what is wrong
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = [part for part in name.split(".") if part]
                up = node.level - is_package
                if up > len(above):
                    continue  # beyond the plug-in: Python will refuse it
                base = "." + ".".join([*above[: len(above) - up], *([base] if base else [])])
            yield base
            yield from (f"{base.rstrip('.')}.{alias.name}" for alias in node.names)


class _LocalImports(ast.NodeTransformer):
    """Absolute imports of a plug-in's files, under the names that they have in this process."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources

    def visit_Import(self, node: ast.Import) -> list[ast.stmt]:
        """`import a.b` becomes `import P.a.b` and `import P.a as a`."""
        made: list[ast.stmt] = []
        for alias in node.names:
            inside = self._inside(alias.name)
            if inside is None:
                made.append(ast.Import(names=[alias]))
                continue
            made.append(ast.Import(names=[ast.alias(name=inside, asname=alias.asname)]))
            if alias.asname is None:
                first = alias.name.split(".")[0]
                made.append(ast.Import(names=[ast.alias(name=self._inside(first) or first, asname=first)]))
        return [ast.copy_location(statement, node) for statement in made]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt:
        """`from a import b` becomes `from P.a import b`."""
        inside = self._inside(node.module) if node.module and not node.level else None
        return node if inside is None else ast.copy_location(ast.ImportFrom(inside, node.names, 0), node)

    def _inside(self, dotted: str) -> str | None:
        local = self.sources.relative(dotted)
        return None if local is None else ".".join(filter(None, (self.sources.module_name, local)))


class _Importer(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds and runs the modules of plug-ins: the bytes that were hashed, without a __pycache__ beside them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec of a plug-in's module; nothing for other modules."""
        owner, _, relative = fullname.partition(".")
        sources = _IN_USE.get(owner)
        if sources is None:
            return None
        if relative == "" and "" not in sources.modules:  # a folder without __init__.py
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        if relative not in sources.modules:
            return None
        file, _ = sources.modules[relative]
        is_package = file.name == "__init__.py" or relative == ""
        spec = importlib.util.spec_from_file_location(fullname, file, loader=self)
        if spec is not None:
            spec.submodule_search_locations = [] if is_package else None  # nothing is found there but by this importer
        return spec

    def exec_module(self, module: ModuleType) -> None:
        """Run the file's contents."""
        owner, _, relative = module.__name__.partition(".")
        sources = _IN_USE[owner]
        if relative not in sources.modules:
            return
        file, content = sources.modules[relative]
        tree = _LocalImports(sources).visit(ast.parse(content, str(file)))
        exec(compile(ast.fix_missing_locations(tree), str(file), "exec", dont_inherit=True), module.__dict__)


_IMPORTER = _Importer()


def run(sources: Sources) -> None:
    """Import the plug-in's modules in this process. Raises whatever they raise."""
    _IN_USE[sources.module_name] = sources
    if _IMPORTER not in sys.meta_path:
        sys.meta_path.insert(0, _IMPORTER)
    for name in sources.start:
        importlib.import_module(".".join(filter(None, (sources.module_name, name))))


def forget(sources: Sources) -> None:
    """Undo `run`: the modules are forgotten."""
    _IN_USE.pop(sources.module_name, None)
    for name in list(sys.modules):
        if name.partition(".")[0] == sources.module_name:
            del sys.modules[name]
