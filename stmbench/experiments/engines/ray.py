"""Tasks on a Ray cluster: each is a Ray task with its processors or GPU, retried where a worker or a node is lost.

Nothing is shared but the network: a task gets the files that it reads (checkpoints, plug-ins) as bytes and works in a
folder of its own; what it leaves there comes back as bytes and is put into the one store, parts last. Where the store
is at an address (s3://bucket/store), the nodes read and write it there, and results alone come back. Data sets have to
be at an address, or at the same path on every node.

Nodes may come and go: what the cluster has is looked up again all along.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, ClassVar, Final

from stmbench.data.sets import OpenedSets, opened_once
from stmbench.errors import ConfigError, MissingPackageError, StmbenchError, reason_of
from stmbench.experiments.engines import ATTEMPTS, Done, Engine, Event, TaskFailed, TaskProgress
from stmbench.experiments.engines.ray_worker import at_address, elsewhere, unpack
from stmbench.experiments.engines.sent_files import SentFiles
from stmbench.experiments.tasks import Task, execute
from stmbench.measure.memory import return_freed_memory
from stmbench.tables.addresses import mirror_of

POLL_S: Final = 1.0
TRIM_EVERY: Final = 100  # results: what came with them and was written leaves gaps, 12 KiB each


class RayEngine(Engine):
    """Tasks on the cluster at `address`, or on one that is started on this machine.

    Twice as many tasks are handed over as the cluster has room for, so that no node waits for the next. What the store
    has already is not: this process looks it up, while the nodes work.

    Args:
        folder: the store that results are put into.
        gpus: of each task, where it runs on a GPU.

    Raises:
        MissingPackageError: ray is not installed. ConfigError: no cluster at the address; by `submit`, a
            task for a GPU in a cluster that never had one.
    """

    name: ClassVar[str] = "ray"

    def __init__(self, folder: Path, address: str | None, *, gpus: float = 1.0) -> None:
        self._ray = _import_ray()
        self._folder, self._gpus = folder, gpus
        self._pending: dict[Any, tuple[Task, int]] = {}  # with the processors that it asks for
        self._results = 0
        self._kept: list[Task] = []  # that the store has
        self._stranded: set[str] = set()  # tasks of which it was said that no node can run them
        self._began_here = not self._ray.is_initialized()
        if self._began_here:
            try:
                self._ray.init(address=address, include_dashboard=False, log_to_driver=False, configure_logging=False)
            except (ConnectionError, ValueError, RuntimeError) as error:
                got = f"none at {address} ({str(error).splitlines()[0][:120]})"
                raise ConfigError("a running Ray cluster", got, "start one with `ray start --head`") from error
        self._mirror = mirror_of(folder)
        # once: each is sent to the cluster, and stays there
        self._remote = self._ray.remote(elsewhere if self._mirror is None else at_address)
        self._sent = SentFiles(folder, self._ray.put)
        self._on_gpu = self._had_gpu = False
        self._look_around()
        self._sets: OpenedSets = {}  # this process asks what the store has of each task

    @property
    def slots(self) -> int:  # type: ignore[override]  # tasks that the cluster has room for, as it is now
        """As many as it has processors or, for tasks on GPUs, GPUs."""
        if time.monotonic() - self._looked > POLL_S:
            self._look_around()
        return max(1, int(self._total_gpus / self._gpus) if self._on_gpu else int(self._total_cores))

    @property
    def ahead(self) -> int:  # type: ignore[override]
        """Tasks more that it takes."""
        return self.slots

    def answers(self, task: Task) -> bool:
        return self._mirror is None and self._sent.may_have(task)

    def submit(self, task: Task) -> None:
        self._on_gpu = task.device.startswith("cuda")
        if self._on_gpu and not self._had_gpu:
            self._look_around()
            if not self._had_gpu:  # Ray would wait for one for ever
                raise ConfigError("a GPU in the Ray cluster", "none", "add a node that has one, or use --device cpu")
        with opened_once(self._sets):
            if self._mirror is None and self._sent.has_all(task):
                self._kept.append(task)
            else:
                self._hand_over(task)

    def wait(self) -> list[Event]:
        if self._kept:
            events: list[Event] = [self._looked_up(self._kept.pop(0))]
            if self._pending:
                done, _ = self._ray.wait(list(self._pending), num_returns=1, timeout=0)
                events += [self._taken(reference) for reference in done]
            return events
        events = []
        while not events:
            done, _ = self._ray.wait(list(self._pending), num_returns=1, timeout=POLL_S)
            events += [self._taken(reference) for reference in done]
            if not done:
                self._look_around()
                events += self._with_fewer_nodes()
        return events

    def close(self) -> None:
        for reference in self._pending:
            self._ray.cancel(reference, force=True)
        self._pending, self._kept = {}, []
        if self._began_here:
            self._ray.shutdown()
        if self._mirror is not None:
            self._mirror.pull()

    def _hand_over(self, task: Task) -> None:
        cores = max(1, int(self._most_cores)) if task.alone else 1
        remote = self._remote.options(
            num_cpus=cores,
            num_gpus=self._gpus if task.device.startswith("cuda") else 0,
            max_retries=ATTEMPTS - 1,
            name=task.name,
        )
        if self._mirror is None:
            reference = remote.remote(*self._sent.packed(task))
        else:
            reference = remote.remote(*self._sent.packed_for_address(task), self._mirror.address)
        self._pending[reference] = task, cores

    def _looked_up(self, task: Task) -> Event:
        try:
            with opened_once(self._sets):
                return Done(result=execute(task, self._folder))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return TaskFailed(name=task.name, reason=reason_of(error))

    def _taken(self, reference: Any) -> Event:
        task, _ = self._pending.pop(reference)
        self._stranded.discard(task.name)
        self._results += 1
        if self._results % TRIM_EVERY == 0:
            return_freed_memory()
        try:
            result, files, refused = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:  # no death: the task's own exception, raised there
            return TaskFailed(name=task.name, reason=reason_of(error.cause))
        except self._ray.exceptions.RayError as error:
            reason = f"its worker died {ATTEMPTS} times ({type(error).__name__})"
            return TaskFailed(name=task.name, reason=reason)
        if refused is not None:
            return TaskFailed(name=task.name, reason=refused)
        try:
            unpack(files, self._folder)
        except (OSError, StmbenchError) as error:
            reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            return TaskFailed(name=task.name, reason=f"its results could not be written: {reason}")
        return Done(result=result)

    def _look_around(self) -> None:
        """What the nodes that are alive have: processors, those of the largest, GPUs."""
        self._looked = time.monotonic()
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        cores = [node.get("CPU", 0) for node in nodes]
        self._total_cores, self._most_cores = sum(cores), max(cores, default=0)
        self._total_gpus = sum(node.get("GPU", 0) for node in nodes)
        self._had_gpu = self._had_gpu or self._total_gpus > 0

    def _with_fewer_nodes(self) -> list[Event]:
        """Ask for less where the node is gone that had as much as a task asks for; say which tasks no node can run."""
        events: list[Event] = []
        for reference, (task, cores) in list(self._pending.items()):
            lacks = "processors" if self._total_cores < 1 else ""
            lacks = "a GPU" if not lacks and task.device.startswith("cuda") and not self._total_gpus else lacks
            if lacks and task.name not in self._stranded:
                self._stranded.add(task.name)
                events.append(TaskProgress(name=task.name, text=f"{task.name}: waits for a node that has {lacks}"))
            elif not lacks:
                if task.name in self._stranded:
                    self._stranded.discard(task.name)
                    events.append(TaskProgress(name=task.name, text=task.name))
                if cores > self._most_cores:
                    self._ray.cancel(reference, force=True)
                    del self._pending[reference]
                    self._hand_over(task)
        return events


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_task_oom_retries", str(ATTEMPTS - 1))  # Ray's own number is without end
    try:
        import ray
    except ImportError as error:
        raise MissingPackageError("ray", "--engine ray", "ray") from error
    return ray
