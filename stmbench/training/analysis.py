"""`train`: models trained by a recipe, as units of work; their curves are rows of the table, their weights files."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from stmbench.analyses.base import Analysis, Listener, Outcome, Progress
from stmbench.analyses.models import (
    facts_of,
    mixer_facts,
    outputs_of,
    own_weights,
    packages_of,
    plugin_hashes,
    require_support,
)
from stmbench.analyses.unit import Unit
from stmbench.architectures.catalog import ModelName
from stmbench.architectures.mixer_contribution import faint_mixers
from stmbench.checkpoints.loading import LoadedWeights, state_hash
from stmbench.errors import CheckpointError, ConfigError, PeerFailureError, StmbenchError, reason_of
from stmbench.measure.backend_settings import freed_memory_kept, require_dtype
from stmbench.tables import Store
from stmbench.tables.addresses import fetched, remove_there
from stmbench.tables.files import CHECKPOINTS
from stmbench.tasks.base import TrainingData, open_data, task_of
from stmbench.training.batches import batch_remark, decoding_workers, with_fitting_batch
from stmbench.training.distributed import ProcessGroup
from stmbench.training.loop import Loop
from stmbench.training.progress import require_board
from stmbench.training.rows import training_rows
from stmbench.training.settings import TrainingSettings
from stmbench.training.state import RunFolder, folder_name, load_state

END = None  # what the first process tells the others when there is nothing left to train


class Training(Analysis):
    """Each run is a unit: one model, one recipe, one seed.

    A run that was stopped resumes from its state; one that is finished is skipped while its weights are there.

    Args:
        runs: what to train, one after the other.
        group: the processes that share the work; the first one alone writes.
        resume: a state to go on from instead of the run's own, for a single run.
        fresh: what interrupted or finished runs left is deleted when their turn comes.

    Raises:
        ConfigError, InputError: data that do not fit the model. CheckpointError: `resume` is another run's.
    """

    name = "train"
    tuned = True

    def __init__(
        self,
        runs: Sequence[TrainingSettings],
        store: Store,
        *,
        group: ProcessGroup | None = None,
        resume: Path | None = None,
        fresh: bool = False,
        listener: Listener | None = None,
    ) -> None:
        self.group = group or ProcessGroup()
        super().__init__(store=store, seed=runs[0].seed, device=str(self.group.device), listener=listener)
        if resume is not None and len(runs) != 1:
            raise ConfigError("one run to resume", f"{len(runs)}", "name one model and one seed")
        if resume is not None and fresh:
            raise ConfigError("--resume or --fresh", "both", "leave one out")
        if any(run.tensorboard for run in runs):
            require_board()
        for run in runs:
            require_dtype(run.dtype, self.device)
        self._resume, self._fresh = resume, fresh
        self._data: tuple[Any, TrainingData[Any]] | None = None
        self.runs = [self.fitted(run) for run in runs]
        fewer = (batch_remark(asked, run) for asked, run in zip(runs, self.runs, strict=True))
        chosen = {run.workers for asked, run in zip(runs, self.runs, strict=True) if asked.workers is None}
        self._remarks = [*dict.fromkeys(text for run in runs for text in run.remarks), *filter(None, fewer)]
        self._remarks += [f"--workers auto: {count} processes decode images ahead" for count in chosen if count]
        self._by_key = {self.unit_of(run).key: run for run in self.runs}
        if resume is not None:
            load_state(resume, self.facts(self.runs[0]))  # refused before anything is written

    @property
    def definition(self) -> str:
        return "train.v1"

    def headline(self, unit: Unit) -> str | None:
        return task_of(self._by_key[unit.key]).headline

    def remarks(self) -> list[str]:
        sets = [images for run in self.runs for images in (self.data(run).train, self.data(run).test)]
        found = dict.fromkeys(text for images in sets for text in (*images.remarks, *images.damaged))
        return [*self._remarks, *self._not_repeatable(), *found]

    def _not_repeatable(self) -> list[str]:
        """Where a seed does not give the same weights twice, although everything else is set to repeat exactly."""
        if self.group.device.type == "cpu" and not torch.are_deterministic_algorithms_enabled():
            return []
        entries = [facts_of(run.model).entry for run in self.runs]
        said = {entry.name: entry.nondeterministic_backward for entry in entries if entry is not None}
        return [f"{name}: a second run of a seed may give other weights: {why}" for name, why in said.items() if why]

    def units(self) -> Iterator[Unit]:
        self.store.require_writable()
        for run in self._by_key.values():
            yield self.unit_of(run)

    def measure(self, unit: Unit) -> Outcome:
        run = self._by_key[unit.key]
        require_support(run.model, device=str(self.group.device), dtype=run.dtype)
        self.group.broadcast(unit.key)
        if self.group.size == 1:
            return self._train(run)
        try:
            return self._train(run)
        except StmbenchError:
            raise  # every process has it
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # the others wait for this one amid a step: all end, and the launcher says so
            raise PeerFailureError(f"{unit.task} of {run.model}: {reason_of(error)}") from error

    def forget(self, unit: Unit) -> None:
        super().forget(unit)
        folder = self.folder(self._by_key[unit.key]).path
        remove_there(folder)
        shutil.rmtree(folder, ignore_errors=True)

    def dismiss(self) -> None:
        """Let the other processes go, after `run`."""
        self.group.broadcast(END)

    def follow(self) -> None:
        """What every process but the first does: train along, until the first has nothing left."""
        while (key := self.group.broadcast(END)) is not END:
            run = self._by_key[key]
            # an error the first process has too, and it writes it down
            with contextlib.suppress(StmbenchError), self.arithmetic(self.unit_of(run)).applied():
                self._train(run)

    def fitted(self, run: TrainingSettings) -> TrainingSettings:
        """The run with a batch that its images fill, and with a number of workers."""
        data, run = self.data(run), with_fitting_batch(run, len(self.data(run).chosen), self.group.size)
        if run.workers is not None:
            return run
        workers = decoding_workers(len(data.chosen), embedded=data.train.embedded, device=self.group.device)
        return dataclasses.replace(run, workers=workers)

    def unit_of(self, run: TrainingSettings) -> Unit:
        """The unit of a run; known before it is trained."""
        data, run = self.data(run), self.fitted(run)
        return Unit(
            analysis=self.name,
            definition=self.definition,
            task="training",
            models=(run.model,),
            weights=(own_weights(run.model, run.seed),),
            conditions={"dataset": data.fingerprints, **run.facts},
            seed=run.seed,
            plugins=plugin_hashes([run.model]),
            packages=packages_of([run.model], self.software),
        )

    def folder(self, run: TrainingSettings) -> RunFolder:
        """Where the run's weights are, or will be."""
        run = self.fitted(run)
        data, recipe = self.data(run), run.recipe
        name = folder_name(run.model, data.train.name, run.seed, self.unit_of(run).key)
        share = "" if run.data_fraction == 1 else f".{run.data_fraction:g}"
        task = f".{recipe.task}" if recipe.task else ""
        source = f"{data.train.name}{share}{task}.e{recipe.epochs}.s{run.seed}"
        known = facts_of(run.model)
        about = {
            "key": self.unit_of(run).key,
            "columns": {
                **{"model": run.model, "architecture": known.architecture, "mixer": known.mixer, "scale": known.scale},
                **{"weights": source, "seed": run.seed, "dataset": data.train.column, "dtype": run.dtype},
            },
            "mixers": mixer_facts([run.model]),
        }
        place = self.store.folder / CHECKPOINTS / name
        return RunFolder(place, run, source, self.facts(run), None if recipe.task else data.train.classes, about)

    def facts(self, run: TrainingSettings) -> dict[str, Any]:
        """What a state must agree on."""
        return {"model": run.model, "seed": run.seed, "dataset": self.data(run).fingerprints, **self.fitted(run).facts}

    def data(self, run: TrainingSettings) -> TrainingData[Any]:
        """The run's images; opened once for runs that share them."""
        options = dict(ModelName.parse(run.model).options)
        sets = (run.dataset, run.train_split, run.test_split, run.classes, run.labels, run.data_fraction, run.seed)
        asked = (task_of(run), *sets, options.get("num_classes"))
        if self._data is None or self._data[0] != asked:
            self._data = asked, open_data(run)
        return self._data[1]

    def _train(self, run: TrainingSettings) -> Outcome:
        folder = self.folder(run)

        def tell(text: str, done: float, left: float | None) -> None:
            self.tell(Progress(text=text, done=done, total=1.0, seconds_left=left))

        if self.group.is_first:
            folder.prepare(fresh=self._fresh)
        loop, began = self._begun(
            run, folder, lambda: Loop(run, self.data(run), self.group, keep=folder.keep, tell=tell)
        )
        with freed_memory_kept(self.group.device.type):  # every step would give its pages back and ask for new ones
            record = loop.run()
        weights = LoadedWeights(source=folder.source, sha256=state_hash(loop.result.state_dict())).label
        rows = training_rows(self, run, loop, self.store.place(folder.result), weights)
        notes = {"settings": run.facts, "seconds_by_epoch": [epoch.seconds for epoch in record.epochs]}
        if said := [*filter(None, [began]), *loop.task.warnings(record.epochs[-1].scores)]:
            notes |= {"warnings": said, "disturbances": [{"kind": s, "amount": 1.0, "text": s} for s in said]}
        notes |= outputs_of(run.model, loop.result)
        notes |= faint_mixers(f"{run.model} ({weights})", loop.result, loop.task.size)
        return Outcome(rows=rows, notes={**notes, "processes": self.group.size, "workers": run.workers})

    def _begun(self, run: TrainingSettings, folder: RunFolder, make: Callable[[], Loop]) -> tuple[Loop, str | None]:
        """A loop at the point where the run resumes: from `resume`, or from its newest usable state.

        Which states there are is the first process's to say: one may be written while another process looks.

        Returns:
            The loop, and what has to be said of states that could not be used.
        """
        fetched(folder.path)  # by every process: each may be on a machine of its own
        loop, refused = make(), list[str]()
        for path in self.group.broadcast(folder.states if self._resume is None else [self._resume]):
            try:
                loop.restore(load_state(path, self.facts(run)))
            except Exception as error:  # of another version, its inside can be anything
                if self._resume is not None:
                    raise _unusable(path, error) from error
                refused.append(f"{path.name} ({_unusable(path, error).got})")
                folder.refused.add(path.name)
                loop = make()  # it may be restored in part
            else:
                done = f"went on from {path.name}, after {len(loop.record.losses)} steps"
                break
        else:
            done = "began anew"
        return loop, f"{run.model}: could not use {' and '.join(refused)}, {done}" if refused else None


def _unusable(path: Path, error: Exception) -> CheckpointError:
    if isinstance(error, CheckpointError):
        return error
    got = f"{path.name}, which does not fit ({reason_of(error)})"
    return CheckpointError("the state of a run of this model", got, "start anew with --fresh")
