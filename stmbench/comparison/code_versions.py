"""What a live comparison compares: a checkout, an environment, or a folder with plug-ins, each with its own code."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stmbench.errors import InputError
from stmbench.measure import environment
from stmbench.tables.comparison_result import Version

OURS = Path(__file__).resolve().parents[2]
# glibc would give freed blocks back and ask for fresh pages in every pass (measure.backend_settings); an OpenMP of
# Intel's would keep spinning on the cores while the other side has its turn
QUIET = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**62), "KMP_BLOCKTIME": "0"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Side:
    """Where one side's code is: `checkout` None means what `python` has installed."""

    label: str
    python: Path
    checkout: Path | None = None
    plugins: tuple[Path, ...] = ()
    folder: Path | None = None  # whose commit is the side's

    def environment(self) -> dict[str, str]:
        """Environment variables of the side's worker."""
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        inherited = os.environ.get("PYTHONPATH")
        if self.checkout is not None:
            kept["PYTHONPATH"] = os.pathsep.join([str(self.checkout), *([inherited] if inherited else [])])
        elif inherited and self.python == Path(sys.executable):
            kept["PYTHONPATH"] = inherited  # this Python, as this process sees it
        return {**kept, **QUIET, "PYTHONDONTWRITEBYTECODE": "1"}

    def version(self, hello: Mapping[str, Any], machine: str) -> Version:
        """What the worker said when it started, with the commit and the digest of the code.

        Raises:
            InputError: the worker runs other code than the checkout's.
        """
        package = Path(hello["package"])
        if self.checkout is not None and not package.resolve().is_relative_to(self.checkout.resolve()):
            got = f"another one, in {package}"
            raise InputError(
                f"the stmbench of {self.label} to be imported", got, "give its environment's python instead"
            )
        state = environment.git_state(self.folder or package.parent)
        return Version(
            label=self.label,
            commit=state["commit"],
            dirty=state["dirty"],
            digest=digest(sorted(package.rglob("*.py")), package),
            software=tuple((name, str(value)) for name, value in hello["software"].items() if value is not None),
            machine=machine,
            plugins=tuple((path.name, digest([path], path.parent)) for path in self.plugins),
        )


def side(text: str, plugins: Sequence[Path] = ()) -> Side:
    """A side from the command line: a folder that holds the package, a virtual environment, a Python, or plug-ins.

    A plug-in given by a relative path that is in the side's folder is taken from there, so that two versions of a
    third-party mixer can be compared.

    Raises:
        InputError: none of these.
    """
    path = Path(text)
    own = [path / plugin for plugin in plugins if not plugin.is_absolute() and (path / plugin).is_file()]
    chosen = tuple((path / plugin if path / plugin in own else plugin).resolve() for plugin in plugins)
    for plugin in chosen:
        if not plugin.is_file() or plugin.suffix != ".py":
            raise InputError("a plug-in file (.py)", f"{str(plugin)!r}", "check --plugin")
    if path.is_file() and os.access(path, os.X_OK):
        return Side(label=text, python=path.absolute(), plugins=chosen)
    interpreter = path / "bin" / "python"
    if (path / "pyvenv.cfg").is_file() and interpreter.exists():
        return Side(label=text, python=interpreter.absolute(), plugins=chosen)
    if (path / "stmbench" / "__init__.py").is_file():
        return Side(
            label=text, python=Path(sys.executable), checkout=path.resolve(), plugins=chosen, folder=path.resolve()
        )
    if own:
        # beside the stmbench that runs this, which need not be installed
        return Side(label=text, python=Path(sys.executable), checkout=OURS, plugins=chosen, folder=path.resolve())
    got = f"{text!r}, which is {'a folder without them' if path.is_dir() else 'none'}"
    raise InputError(
        "a checkout (a folder with the package stmbench), a virtual environment, a python, or a folder with --plugin",
        got,
        "without --live two stores are compared",
    )


def digest(files: Sequence[Path], root: Path) -> str:
    """SHA-256 of the files' names and contents, in hex."""
    found = hashlib.sha256()
    for file in files:
        found.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return found.hexdigest()
