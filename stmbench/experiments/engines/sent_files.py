"""The files that go with a task to another machine: checkpoints, plug-ins, what the store has of it already."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from stmbench.errors import StmbenchError
from stmbench.experiments.engines.ray_worker import LARGE, Files, content_of
from stmbench.experiments.tasks import Task, TrainedWeights, analysis_of, is_done, weights_of
from stmbench.plugins import carried_files
from stmbench.tables import Store
from stmbench.tables.files import ARTIFACTS

if TYPE_CHECKING:
    from stmbench.training.analysis import Training

REMEMBERED: Final = 16  # large files that several tasks read, each sent once


class SentFiles:
    """Packs tasks for other machines.

    Args:
        folder: the store.
        put: makes a large file known to all machines, and returns what stands for it.
    """

    def __init__(self, folder: Path, put: Callable[[Any], Any]) -> None:
        self._folder, self._put, self._store = folder, put, Store(folder)
        self._trained = TrainedWeights(folder)
        self._references: dict[tuple[str, int, int], Any] = {}
        self._plugins: dict[str, tuple[str, Files]] = {}
        self._had_parts = bool(self._store.names())

    def may_have(self, task: Task) -> bool:
        """Whether it is worth asking `has_all`: never of a task that compares others."""
        return self._had_parts and not task.fresh and (task.step is None or len(task.models) == 1)

    def has_all(self, task: Task) -> bool:
        """Whether the store has all of a task, so that it need not go anywhere."""
        return self.may_have(task) and is_done(task, self._folder, self._trained)

    def packed(self, task: Task) -> tuple[Task, Files]:
        """The task with paths that hold anywhere, and the files that it reads.

        Parts that the store has already go along where they are needed, so that nothing is measured twice and
        comparisons find what they compare.
        """
        task, files = self._with_files(task, weights_of(task, self._folder, self._trained))
        if task.step is None:
            for path in self._of_runs(task):
                files[path.relative_to(self._folder).as_posix()] = content_of(path)
        if self._had_parts or task.needs:
            files |= self._parts(task)
        return (task if task.step is None else dataclasses.replace(task, runs=())), files

    def packed_for_address(self, task: Task) -> tuple[Task, Files]:
        """The same for a store at an address, where the other machine finds what the store has."""
        return self._with_files(task, task.files)

    def _with_files(self, task: Task, weights: Mapping[str, str]) -> tuple[Task, Files]:
        """The task with its plug-ins and these weights (model -> file) at relative paths, and their contents."""
        files: Files = {}
        sent: dict[str, str] = {}
        for model, file in weights.items():
            place = _place(Path(file), self._folder, "checkpoints")
            if Path(file).is_file():
                files[place] = self._shared(Path(file))
            sent[model] = place
        plugins = []
        for number, own in enumerate(task.plugins):
            name, needed = self._plugin(own)
            files |= {f"plugins/{number}/{place}": content for place, content in needed.items()}
            plugins.append(f"plugins/{number}/{name}")
        task = dataclasses.replace(task, plugins=tuple(plugins))
        return (task if task.step is None else dataclasses.replace(task, files=sent)), files

    def _plugin(self, path: str) -> tuple[str, Files]:
        """A plug-in's name and its files, as they were at the first task: all nodes run the same code."""
        if path not in self._plugins:
            name, needed = carried_files(path)
            self._plugins[path] = name, {place: source.read_bytes() for place, source in needed.items()}
        return self._plugins[path]

    def _shared(self, path: Path) -> Any:
        """The content of a file that other tasks read as well."""
        status = path.stat()
        if status.st_size < LARGE:
            return path.read_bytes()
        version = str(path), status.st_size, status.st_mtime_ns
        if version not in self._references:
            if len(self._references) >= REMEMBERED:
                del self._references[next(iter(self._references))]
            self._references[version] = self._put(content_of(path))
        return self._references[version]

    def _of_runs(self, task: Task) -> list[Path]:
        """What an interrupted training left, to go on from."""
        folders = [self._trained.folder(run).path for run in task.runs]
        found = [path for place in folders for path in place.rglob("*")]
        return [path for path in found if path.is_file() and not path.name.startswith(".")]

    def _parts(self, task: Task) -> Files:
        """The store's parts of a task's units, with their artifacts."""
        contents = Files()
        for key in self._keys(task):
            if not self._store.has(key):
                continue
            own = self._store.parts / f"{key}.parquet"
            names = [name for name in self._store.metadata(key).get(ARTIFACTS, {}) if name.startswith("parts/")]
            contents |= {name: content_of(self._folder / name) for name in names}
            merged = None if own.is_file() else self._store.contents(key)[own.name]
            contents[self._store.place(own)] = own.read_bytes() if merged is None else merged
        return contents

    def _keys(self, task: Task) -> Iterable[str]:
        """Of the units that a task would measure; of a timing all of its models, whatever the machine."""
        from stmbench.analyses.images import ImageAnalysis

        try:
            analysis = analysis_of(task, self._folder, weights=self._trained)
            if task.step is None:
                training = cast("Training", analysis)  # not imported for this: timm comes with it
                return [training.unit_of(run).key for run in training.runs]
            if isinstance(analysis, ImageAnalysis):
                return [unit.key for unit, _ in analysis.plan()]
        except StmbenchError:  # the task will meet it again, and report it
            return []
        models, title = set(task.models), task.title
        stored = {key: self._store.metadata(key) for key in self._store.keys()}  # noqa: SIM118  a store is no mapping
        return [
            key
            for key, facts in stored.items()
            if set(facts.get("models", ())) <= models and str(facts.get("analysis", "")).endswith(title)
        ]


def _place(path: Path, folder: Path, beside: str) -> str:
    """Where a file goes in a task's folder: the same place for a file of the store's."""
    try:
        return path.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        return f"{beside}/{path.name}"
