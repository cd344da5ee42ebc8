"""Fake workers: a clock that only they move, models that take what they are told to, and deaths on request."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from stmbench.comparison.worker_process import CodeVersion, WorkerError

BASE = CodeVersion(label="base", python=Path("python"))
HEAD = CodeVersion(label="head", python=Path("python"))
PACKAGE = str(Path(__file__).parent)


@dataclasses.dataclass
class World:
    """What the fakes share.

    `seconds` of a pass by (side, model), 0.05 by default; `refuses` and `dies` hold (side, request, model); `started`
    counts the workers of each side and `running` those that were not closed.
    """

    noise: float = 0.02
    seconds: dict[tuple[str, str], float] = dataclasses.field(default_factory=dict)
    refuses: set[tuple[str, str, str]] = dataclasses.field(default_factory=set)
    dies: set[tuple[str, str, str]] = dataclasses.field(default_factory=set)
    params: dict[str, int] = dataclasses.field(default_factory=dict)
    resolution: dict[str, list[int]] = dataclasses.field(default_factory=dict)
    waits: dict[str, float] = dataclasses.field(default_factory=dict)
    bursts: float = 0.0  # share of the runs in which probe and model take ten times as long
    interrupt_after: float = float("inf")
    now: float = 0.0
    started: dict[str, int] = dataclasses.field(default_factory=dict)
    running: list[str] = dataclasses.field(default_factory=list)
    log: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    cores: list[int | None] = dataclasses.field(default_factory=list)  # of each run

    def start(self, side: CodeVersion) -> FakeWorker:
        """In place of a process."""
        self.started[side.label] = self.started.get(side.label, 0) + 1
        self.running.append(side.label)
        return FakeWorker(side.label, self, np.random.default_rng([ord(side.label[0]), self.started[side.label]]))

    def clock(self) -> float:
        """In place of the time of day."""
        return self.now


class FakeWorker:
    """Answers as a worker does."""

    def __init__(self, side: str, world: World, random: np.random.Generator) -> None:
        self.side, self.world, self.random = side, world, random
        self.model = ""

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        world = self.world
        world.log.append((self.side, do))
        model = request.get("model", self.model)
        if (self.side, do, model) in world.dies:
            raise WorkerError("the worker was killed by signal 9", died=True)
        if (self.side, do, model) in world.refuses:
            raise WorkerError(f"ValueError: no {model}")
        match do:
            case "hello":
                self.slowdown = request["slowdown"]
                return {"package": PACKAGE, "software": {"stmbench": "0.1.0", "torch": "2.5.0"}, "threads": 1}
            case "load":
                self.model = model
                resolution = request["resolution"] or world.resolution.get(self.side, [32, 32])
                return {"params": world.params.get(self.side, 1000), "resolution": list(resolution)}
            case "unload":
                return {}
            case _:
                world.cores.append(request["core"])
                return self._run(request["passes"])

    def close(self) -> None:
        self.world.running.remove(self.side)

    def _run(self, passes: int) -> dict[str, Any]:
        world = self.world
        load = 10.0 if self.random.random() < world.bursts else 1.0
        probe, noise = 0.005 * load * self.random.lognormal(0, 0.01), self.random.lognormal(0, world.noise)
        took = passes * load * world.seconds.get((self.side, self.model), 0.05) * (1 + self.slowdown) * noise
        wall = took * (1 + world.waits.get(self.side, 0.0))
        world.now += probe + wall
        if world.now > world.interrupt_after:
            raise KeyboardInterrupt
        return {"probe": [probe, probe], "passes": [wall, took]}
