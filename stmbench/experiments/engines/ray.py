"""Tasks on a Ray cluster: each is a Ray task with its processors or GPU, retried where a worker dies.

Nothing is shared but the network: a task gets the files that it reads (checkpoints, plug-ins) as bytes and works in a
folder of its own; what it leaves there comes back as bytes and is put into the one store, parts last. Data sets have to
be at the same path on every node.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from stmbench.errors import ConfigError, MissingPackageError, StmbenchError, reason_of
from stmbench.experiments.engines import ATTEMPTS, Done, Engine, Event, TaskFailed
from stmbench.experiments.tasks import Task, TaskResult, execute, weights_of
from stmbench.plugins import carried_files
from stmbench.tables.files import replacing
from stmbench.tables.packed import locked

POLL_S = 1.0
Files = dict[str, bytes]  # path relative to the store's folder -> content


class RayEngine(Engine):
    """Tasks on the cluster at `address`, or on one that is started on this machine.

    Args:
        folder: the store that results are put into.
        gpus: of each task, where it runs on a GPU.

    Raises:
        MissingPackageError: ray is not installed. ConfigError: no cluster at the address; by `submit`, a
            task for a GPU in a cluster that has none.
    """

    name: ClassVar[str] = "ray"

    def __init__(self, folder: Path, address: str | None, *, gpus: float = 1.0) -> None:
        self._ray = _import_ray()
        self._folder, self._gpus = folder, gpus
        self._pending: dict[Any, Task] = {}
        self._began_here = not self._ray.is_initialized()
        if self._began_here:
            try:
                self._ray.init(address=address, include_dashboard=False, log_to_driver=False, configure_logging=False)
            except (ConnectionError, ValueError, RuntimeError) as error:
                got = f"none at {address} ({str(error).splitlines()[0][:120]})"
                raise ConfigError("a running Ray cluster", got, "start one with `ray start --head`") from error
        resources = self._ray.cluster_resources()
        self.slots, self._has_gpu = max(1, int(resources.get("CPU", 1))), resources.get("GPU", 0) > 0

    def submit(self, task: Task) -> None:
        on_gpu = task.device.startswith("cuda")
        if on_gpu and not self._has_gpu:  # Ray would wait for one for ever
            raise ConfigError("a GPU in the Ray cluster", "none", "add a node that has one, or use --device cpu")
        cores = self._node_cores() if task.alone else 1
        remote = self._ray.remote(_elsewhere).options(
            num_cpus=cores,
            num_gpus=self._gpus if on_gpu else 0,
            max_retries=ATTEMPTS - 1,
            name=task.name,
        )
        sent, files = _packed(task, self._folder)
        self._pending[remote.remote(sent, files)] = task

    def wait(self) -> list[Event]:
        events: list[Event] = []
        while not events:
            done, _ = self._ray.wait(list(self._pending), num_returns=1, timeout=POLL_S)
            events += [self._taken(reference) for reference in done]
        return events

    def close(self) -> None:
        for reference in self._pending:
            self._ray.cancel(reference, force=True)
        self._pending = {}
        if self._began_here:
            self._ray.shutdown()

    def _taken(self, reference: Any) -> Event:
        task = self._pending.pop(reference)
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
        except OSError as error:
            return TaskFailed(name=task.name, reason=f"its results could not be written: {error.strerror or error}")
        return Done(result=result)

    def _node_cores(self) -> int:
        """Of the largest node: a task that measures time has one to itself."""
        cores = [node["Resources"].get("CPU", 0) for node in self._ray.nodes() if node["Alive"]]
        return int(max(cores, default=1))


def _elsewhere(task: Task, files: Files) -> tuple[TaskResult | None, Files, str | None]:
    """A task in a folder of its own on whatever node: its result, the files that it made, or why it was refused."""
    import torch

    with tempfile.TemporaryDirectory(prefix="stmbench-") as name:
        folder = Path(name)
        unpack(files, folder)
        given = {path: (folder / path).stat().st_mtime_ns for path in files}
        torch.set_num_threads(max(1, int(os.environ.get("OMP_NUM_THREADS", "1"))))
        try:
            result = execute(_rooted(task, folder), folder)
        except (StmbenchError, SystemExit) as error:
            return None, {}, reason_of(error)
        made = {}
        for path in sorted(folder.rglob("*")):
            place = path.relative_to(folder).as_posix()
            if path.is_file() and given.get(place) != path.stat().st_mtime_ns:
                made[place] = path.read_bytes()
        return result, made, None


def _packed(task: Task, folder: Path) -> tuple[Task, Files]:
    """The task with paths that hold anywhere, and the files that it reads.

    Parts that the store has already go along where they are needed: those of the same models, so that nothing is
    measured twice and comparisons find what they compare.
    """
    files: Files = {}
    sent: dict[str, str] = {}
    for model, file in weights_of(task, folder).items():
        place = _place(Path(file), folder, "checkpoints")
        if Path(file).is_file():
            files[place] = Path(file).read_bytes()
        sent[model] = place
    plugins = []
    for number, own in enumerate(task.plugins):
        name, needed = carried_files(own)
        files |= {f"plugins/{number}/{place}": source.read_bytes() for place, source in needed.items()}
        plugins.append(f"plugins/{number}/{name}")
    if task.step is None:
        for path in _of_runs(task, folder):
            files[path.relative_to(folder).as_posix()] = path.read_bytes()
    files |= _parts(task, folder)
    changes: dict[str, Any] = {"plugins": tuple(plugins)}
    if task.step is not None:
        changes |= {"files": sent, "runs": ()}
    return dataclasses.replace(task, **changes), files


def _of_runs(task: Task, folder: Path) -> list[Path]:
    """What an interrupted training left, to go on from."""
    from stmbench.experiments.tasks import analysis_of
    from stmbench.training.analysis import Training

    analysis = analysis_of(task, folder)
    assert isinstance(analysis, Training)
    folders = [analysis.folder(run).path for run in task.runs]
    return [path for place in folders for path in place.rglob("*") if path.is_file() and not path.name.startswith(".")]


def _parts(task: Task, folder: Path) -> Files:
    """The store's parts of these models and this analysis, with their artifacts."""
    from stmbench.tables import Store

    store, contents = Store(folder), Files()
    for key in store.keys():  # noqa: SIM118  a store is no mapping
        metadata = store.metadata(key)
        analysis = str(metadata.get("analysis", ""))
        if set(metadata.get("models", ())) <= set(task.models) and analysis.endswith(task.title):
            contents |= {store.place(store.parts / name): content for name, content in store.contents(key).items()}
    return contents


def _rooted(task: Task, folder: Path) -> Task:
    """The task with the files that came with it."""
    files = {model: str(folder / place) for model, place in task.files.items()} if task.step is not None else {}
    return dataclasses.replace(task, files=files, plugins=tuple(str(folder / place) for place in task.plugins))


def unpack(files: Mapping[str, bytes], folder: Path) -> None:
    """Write files, each at once; parts come last, since a part says that its files are there. Raises OSError."""
    parts = folder / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    with locked(parts):
        for place in sorted(files, key=lambda place: (place.endswith(".parquet"), place)):
            with replacing(folder / place) as temporary:
                temporary.write_bytes(files[place])


def _place(path: Path, folder: Path, beside: str) -> str:
    """Where a file goes in a task's folder: the same place for a file of the store's."""
    try:
        return path.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        return f"{beside}/{path.name}"


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise MissingPackageError("ray", "--engine ray", "ray") from error
    return ray
