"""A management library whose device is in the state that a test says."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass
class FakeNvml:
    """`clocks` and `reasons` are given one after the other, the last one for ever; what is None is refused."""

    clocks: list[int] = dataclasses.field(default_factory=lambda: [1980])
    reasons: list[int] | None = dataclasses.field(default_factory=lambda: [0])
    processes: int | None = 1
    limit: int | None = 700_000
    default: int | None = 700_000
    mig: tuple[int, int] | None = (0, 0)
    uuids: tuple[str, ...] = ("GPU-abc",)
    old: bool = False  # an older library, whose name for reasons is another one
    asked: list[tuple[str, Any]] = dataclasses.field(default_factory=list)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        answers: dict[str, Callable[..., Any]] = {
            "nvmlInit": lambda: None,
            "nvmlDeviceGetHandleByUUID": self._handle,
            "nvmlDeviceGetClockInfo": lambda _handle, kind: self._next(self.clocks) if kind == 1 else None,
            f"nvmlDeviceGetCurrentClocks{'Throttle' if self.old else 'Event'}Reasons": lambda _: self._next(
                self.reasons
            ),
            "nvmlDeviceGetComputeRunningProcesses": lambda _: list(range(self._told(self.processes))),
            "nvmlDeviceGetEnforcedPowerLimit": lambda _: self._told(self.limit),
            "nvmlDeviceGetPowerManagementDefaultLimit": lambda _: self._told(self.default),
            "nvmlDeviceGetMigMode": lambda _: self._told(self.mig),
            "nvmlDeviceIsMigDeviceHandle": lambda handle: handle.startswith("MIG"),
            "nvmlDeviceGetDeviceHandleFromMigDeviceHandle": lambda handle: "whole",
        }
        if name not in answers:
            raise AttributeError(name)

        def answer(*arguments: Any) -> Any:
            self.asked.append((name, arguments[0] if arguments else None))
            return answers[name](*arguments)

        return answer

    def _handle(self, uuid: str) -> str:
        if uuid not in self.uuids:
            raise RuntimeError("Not Found")
        return uuid

    def _next(self, values: list[int] | None) -> int:
        values_told = self._told(values)
        return int(values_told.pop(0) if len(values_told) > 1 else values_told[0])

    def _told(self, value: Any) -> Any:
        if value is None:
            raise RuntimeError("Not Supported")
        return value
