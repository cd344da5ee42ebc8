"""The two workers of a live comparison: started when needed, again after one died, and both killed at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from stmbench.comparison.code_versions import Side
from stmbench.comparison.config import LiveConfig
from stmbench.comparison.process import Worker, WorkerError
from stmbench.comparison.sampling import SIDES
from stmbench.errors import InputError


class LoadError(Exception):
    """A model that cannot be built or run: side -> reason."""

    def __init__(self, reasons: dict[str, str]) -> None:
        super().__init__("; ".join(reasons.values()))
        self.reasons = reasons


class _Named:
    """A worker whose errors say which side it is."""

    def __init__(self, name: str, worker: Worker) -> None:
        self.name, self._worker = name, worker
        self.is_alive = True

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        try:
            return self._worker.ask(do, **request)
        except WorkerError as error:
            error.side = self.name
            self.is_alive = self.is_alive and not error.died
            raise

    def close(self) -> None:
        self._worker.close()


class Pair:
    """Workers of base and head; a context manager that leaves none running.

    Raises:
        InputError: on `workers()`, where a side does not start: its code or its environment is of no use.
    """

    def __init__(self, sides: Sequence[Side], config: LiveConfig, start: Callable[[Side], Worker]) -> None:
        self._sides, self._config, self._start = dict(zip(SIDES, sides, strict=True)), config, start
        self._running: dict[str, _Named] = {}
        self.hello: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Pair:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Kill both."""
        for worker in self._running.values():
            worker.close()
        self._running.clear()

    def workers(self) -> list[_Named]:
        """Both sides, running."""
        for name, side in self._sides.items():
            old = self._running.get(name)
            if old is not None and old.is_alive:
                continue
            if old is not None:
                old.close()
            try:
                worker = self._running[name] = _Named(name, self._start(side))
                plugins = [str(path) for path in side.plugins]
                slowdown = self._config.plant if name == "head" else 0.0
                self.hello[name] = worker.ask("hello", threads=self._config.threads, plugins=plugins, slowdown=slowdown)
            except WorkerError as error:
                raise InputError(
                    f"{name} ({side.label}) to start", str(error), "it needs stmbench and torch"
                ) from error
        return [self._running[name] for name in SIDES]

    def load(self, model: str) -> dict[str, dict[str, Any]]:
        """Build a model on both sides; side -> its parameters and resolution. Raises LoadError."""
        config, answers, reasons = self._config, dict[str, dict[str, Any]](), dict[str, str]()
        for worker in self.workers():
            try:
                worker.ask("unload")
                answers[worker.name] = worker.ask(
                    "load",
                    model=model,
                    seed=config.seed,
                    device=config.device,
                    dtype=config.dtype,
                    batch=config.batch_size,
                    resolution=config.resolution,
                )
            except WorkerError as error:
                reasons[worker.name] = str(error)
        if reasons:
            raise LoadError(reasons)
        return answers
