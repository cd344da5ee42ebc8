"""The code of one side of a live comparison (checkout, environment, plug-ins), and the process that runs it."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from stmbench.errors import InputError, StmbenchError, printable
from stmbench.measure import environment
from stmbench.plugins import carried_files
from stmbench.tables.comparison_result import Version

OURS = Path(__file__).resolve().parents[2]
# glibc would return freed blocks and request fresh pages in every pass (measure.backend_settings); Intel's OpenMP
# would keep spinning on the cores during the other side's turn
QUIET = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**62), "KMP_BLOCKTIME": "0"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class CodeVersion:
    """The code of one side; `checkout` None means what `python` has installed."""

    label: str
    python: Path
    checkout: Path | None = None
    plugins: tuple[Path, ...] = ()
    folder: Path | None = None  # its commit is reported as the code's

    def environment(self) -> dict[str, str]:
        """Environment variables of the worker process."""
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        inherited = os.environ.get("PYTHONPATH")
        if self.checkout is not None:
            kept["PYTHONPATH"] = os.pathsep.join([str(self.checkout), *([inherited] if inherited else [])])
        elif inherited and self.python == Path(sys.executable):
            kept["PYTHONPATH"] = inherited  # the Python of this process
        return {**kept, **QUIET, "PYTHONDONTWRITEBYTECODE": "1"}

    def described(self, hello: Mapping[str, Any], machine: str) -> Version:
        """The worker's answer to 'hello', with the commit and the digest of the code.

        Raises:
            InputError: the worker imported other code than the checkout's.
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
            plugins=tuple((path.name, _plugin_digest(path)) for path in self.plugins),
        )


def _plugin_digest(path: Path) -> str:
    """Of all the plug-in's files."""
    return digest(sorted(carried_files(path)[1].values()), path.parent)


def code_version(text: str, plugins: Sequence[Path] = ()) -> CodeVersion:
    """BASE or HEAD of the command line: a folder with the package, a virtual environment, a Python, or plug-ins.

    A plug-in with a relative path is taken from the folder if it is there, so that two versions of a third-party mixer
    can be compared.

    Raises:
        InputError: none of these.
    """
    path = Path(text)
    own = [path / plugin for plugin in plugins if not plugin.is_absolute() and (path / plugin).exists()]
    chosen = tuple((path / plugin if path / plugin in own else plugin).resolve() for plugin in plugins)
    for plugin in chosen:
        if not plugin.is_dir() and not (plugin.is_file() and plugin.suffix == ".py"):
            raise InputError("a plug-in file (.py) or folder", f"{str(plugin)!r}", "check --plugin")
    if path.is_file() and os.access(path, os.X_OK):
        return CodeVersion(label=text, python=path.absolute(), plugins=chosen)
    interpreter = path / "bin" / "python"
    if (path / "pyvenv.cfg").is_file() and interpreter.exists():
        return CodeVersion(label=text, python=interpreter.absolute(), plugins=chosen)
    if (path / "stmbench" / "__init__.py").is_file():
        return CodeVersion(
            label=text, python=Path(sys.executable), checkout=path.resolve(), plugins=chosen, folder=path.resolve()
        )
    if own:
        # run with this stmbench, which need not be installed
        return CodeVersion(
            label=text, python=Path(sys.executable), checkout=OURS, plugins=chosen, folder=path.resolve()
        )
    got = f"{text!r}, {'a folder without them' if path.is_dir() else 'none of these'}"
    raise InputError(
        "a checkout (a folder with the package stmbench), a virtual environment, a python, or a folder with --plugin",
        got,
        "leave --live out to compare two stores",
    )


def digest(files: Sequence[Path], root: Path) -> str:
    """SHA-256 of the files' names and contents, in hex."""
    content = hashlib.sha256()
    for file in files:
        content.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return content.hexdigest()


WORKER = Path(__file__).with_name("worker.py")
ANSWER_SECONDS = 300.0  # building a model of scale base takes seconds; anything longer hangs


class WorkerError(StmbenchError):
    """A request that a worker refused (`died` False), died of, or never answered; `side` is set by the caller."""

    def __init__(self, reason: str, *, died: bool = False) -> None:
        super().__init__(reason)
        self.died, self.side = died, ""


class Worker(Protocol):
    """What sampling needs of one side; tests provide fakes."""

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """The answer to one request. Raises WorkerError."""
        ...

    def close(self) -> None:
        """Kill it, whatever it is doing."""
        ...


class WorkerProcess:
    """A worker in its own process, which imports the code of its version.

    It has its own session, so that Ctrl-C reaches only this process, which then kills it. It exits by itself when its
    input is closed, so also when this process is killed.
    """

    def __init__(self, version: CodeVersion) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="stmbench-compare-")
        folder = Path(self._folder.name)
        script = folder / "worker.py"
        # a copy in an empty folder: next to the original, Python would search our files for modules first
        script.write_bytes(WORKER.read_bytes())
        self._errors = (folder / "stderr").open("w+b")
        try:
            self._process = subprocess.Popen(
                [str(version.python), str(script)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=version.environment(),
                cwd=folder,
                start_new_session=True,
            )
        except OSError as error:
            self._errors.close()
            self._folder.cleanup()
            raise WorkerError(f"{version.label}: {error.strerror or error}", died=True) from error

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """The answer to one request. Raises WorkerError; once `died` is set, the worker is of no further use."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **request}).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise WorkerError(self._last_words(), died=True) from None
        if not select.select([self._process.stdout], [], [], ANSWER_SECONDS)[0]:
            raise WorkerError(f"no answer to '{do}' within {ANSWER_SECONDS:.0f} s", died=True)
        line = self._process.stdout.readline()
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError:
            raise WorkerError(self._last_words(), died=True) from None
        if not answer.pop("ok"):
            raise WorkerError(printable(answer["reason"]))
        return answer

    def close(self) -> None:
        """Kill the process and remove its files."""
        with contextlib.suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)  # its forks too: it leads its own group
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._errors.close()
        self._folder.cleanup()

    def _last_words(self) -> str:
        """How the process ended, and the last line of its standard error."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        code = self._process.returncode
        ended = (
            "closed its output"
            if code is None
            else f"was killed by signal {-code}"
            if code < 0
            else f"exited with code {code}"
        )
        self._errors.seek(0)
        lines = self._errors.read()[-2000:].decode(errors="replace").strip().splitlines()
        return f"the worker {ended}" + (f": {lines[-1][:300]}" if lines else "")
