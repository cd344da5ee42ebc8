"""A worker process of one side: started, asked, and killed."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Protocol

from stmbench.comparison.code_versions import Side
from stmbench.errors import StmbenchError, printable

WORKER = Path(__file__).with_name("worker.py")
ANSWER_SECONDS = 300.0  # a model of base scale is built in seconds; what takes longer hangs


class WorkerError(StmbenchError):
    """A request that a worker refused (`died` False), or that it died of or never answered; `side` once it is known."""

    def __init__(self, reason: str, *, died: bool = False) -> None:
        super().__init__(reason)
        self.died, self.side = died, ""


class Worker(Protocol):
    """What sampling needs of a side; tests put their own in its place."""

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """The answer to one request. Raises WorkerError."""
        ...

    def close(self) -> None:
        """End it, whatever it is doing."""
        ...


class Process:
    """A worker in a process of its own, which sees the code of its side.

    It has its own session, so that Ctrl-C reaches this process alone, which then kills it; and it ends by itself when
    its input is closed, which is what happens when this process is killed.
    """

    def __init__(self, side: Side) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="stmbench-compare-")
        folder = Path(self._folder.name)
        script = folder / "worker.py"
        # a copy, alone in a folder: beside the original, Python would look for modules among our files first
        script.write_bytes(WORKER.read_bytes())
        self._errors = (folder / "stderr").open("w+b")
        try:
            self._process = subprocess.Popen(
                [str(side.python), str(script)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=side.environment(),
                cwd=folder,
                start_new_session=True,
            )
        except OSError as error:
            self._errors.close()
            self._folder.cleanup()
            raise WorkerError(f"{side.label}: {error.strerror or error}", died=True) from error

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """The answer to one request. Raises WorkerError; after one with `died` set the worker is of no more use."""
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
        """Kill the process and forget its files."""
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
        """How the process ended, and the last line it wrote to standard error."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        code = self._process.returncode
        ended = (
            "closed its output"
            if code is None
            else f"was killed by signal {-code}"
            if code < 0
            else f"ended with {code}"
        )
        self._errors.seek(0)
        lines = self._errors.read()[-2000:].decode(errors="replace").strip().splitlines()
        return f"the worker {ended}" + (f": {lines[-1][:300]}" if lines else "")
