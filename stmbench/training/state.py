"""Files of a run: weights as safetensors, and a state that is enough to go on. Each is replaced as a whole.

last.safetensors        the newest weights            best.safetensors   those of the highest accuracy so far
last.ema.safetensors    their average, with an ema    epoch-0010.safetensors   with keep_every
state.pt                weights, optimiser, average, place in the run: everything that `--resume` needs
state.previous.pt       the one before: where state.pt is damaged, the run resumes from here
progress.json           curves so far, for who watches
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from stmbench.errors import CheckpointError, OutputError
from stmbench.tables.addresses import remove_there
from stmbench.tables.files import remove_stale_temporaries, replacing
from stmbench.training.loop import Loop
from stmbench.training.progress import Record, write_progress
from stmbench.training.settings import TrainingSettings

LAST, BEST = "last.safetensors", "best.safetensors"
TELL_SECONDS = 2.0  # between two writings of progress.json
REFUSED = "state.refused.pt"  # a state that could not be used is set aside, for who wants to look


class RunFolder:
    """Keeps what a loop reaches.

    `source` is what tables call the weights, `facts` what the run is a function of, `classes` the outputs' names,
    `about` what `progress.json` says of the run (`write_progress`); None: there is none.
    """

    def __init__(
        self,
        path: Path,
        settings: TrainingSettings,
        source: str,
        facts: Mapping[str, Any],
        classes: tuple[str, ...] | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.path, self.settings, self.source, self.facts, self.classes = path, settings, source, facts, classes
        self.about = about
        self.refused: set[str] = set()  # names of states that could not be used
        self._saved = time.monotonic()
        self._told = -math.inf
        self._board: Any = None

    @property
    def result(self) -> Path:
        """The weights that the run is for."""
        return self.path / (LAST if self.settings.recipe.ema is None else "last.ema.safetensors")

    @property
    def states(self) -> list[Path]:
        """What an interrupted run left to go on from, the newest first."""
        return [path for path in (self.path / STATE, self.path / PREVIOUS) if path.exists()]

    def prepare(self, *, fresh: bool) -> None:
        """Clear away what a killed process was writing; with `fresh`, all that is there. Raises OutputError."""
        remove_stale_temporaries(self.path)
        if not fresh:
            return
        remove_there(self.path)
        if not self.path.exists():
            return
        try:
            shutil.rmtree(self.path)
        except OSError as error:
            got, remedy = f"{self.path.name} ({error.strerror or error})", "delete it, or choose another --out"
            raise OutputError("a run's folder that can be deleted", got, remedy) from error

    def keep(self, loop: Loop, reached: str) -> None:
        """Save what has to be saved now. Raises OutputError."""
        epochs = loop.record.epoch
        if reached == "best":
            self._weights(BEST, loop.result.state_dict(), f"{self.source}.best")
            return
        if self.about is not None and (reached != "time" or time.monotonic() - self._told >= TELL_SECONDS):
            steps = loop.places.steps
            write_progress(self.path, loop.record, self.settings.recipe.epochs, steps, self.about)
            self._told = time.monotonic()
        if reached == "epoch":
            self._log(loop)
            if self.settings.keep_every and epochs % self.settings.keep_every == 0:
                name = f"epoch-{epochs:04d}.safetensors"
                self._weights(name, loop.result.state_dict(), f"{self.source}.epoch{epochs}")
        if reached == "end" or time.monotonic() - self._saved >= self.settings.save_seconds:
            self._weights(LAST, loop.task.trained(loop.model).state_dict(), self.source)
            if loop.average is not None:
                self._weights(self.result.name, loop.average.module.state_dict(), self.source)
            # last: where this one is missing or older, the run resumes from there and writes the others again
            if STATE in self.refused:  # it must not push out the one before it
                with contextlib.suppress(OSError):
                    os.replace(self.path / STATE, self.path / REFUSED)
            save_state(self.path / STATE, loop.state(), self.facts)
            self.refused.clear()
            self._saved = time.monotonic()

    def _weights(self, name: str, weights: Mapping[str, Any], source: str) -> None:
        save_weights(self.path / name, weights, source=source, facts=self.facts, classes=self.classes)

    def _log(self, loop: Loop) -> None:
        if not self.settings.tensorboard:
            return
        from stmbench.training.progress import Board

        self._board = self._board or Board(self.path / "tensorboard")
        self._board.add(loop.record.epochs[-1])


def folder_name(model: str, dataset: str, seed: int, key: str) -> str:
    """`unified_dw_conv_nano-digits-s0-1a2b3c4d`: what a person needs to find a run, and enough of its key."""
    words = [re.sub(r"[^\w.=]+", "_", text).strip("_") for text in (model, dataset)]
    return "-".join([*words, f"s{seed}", key[:8]])


STATE, PREVIOUS = "state.pt", "state.previous.pt"
FORMAT = 3
KEYS = ("model", "optimizer", "average", "scaler", "record")


def save_weights(
    path: Path,
    weights: Mapping[str, Tensor],
    *,
    source: str,
    facts: Mapping[str, Any],
    classes: tuple[str, ...] | None = None,
) -> None:
    """Write a checkpoint that `load_checkpoint` reads; `source` is what tables call these weights.

    `classes` are the names of the outputs, which an evaluation compares with those of its set.

    Raises:
        OutputError: no space or no permission; an older file stays.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    metadata = {"format": "pt", "source": source, "training": json.dumps(dict(facts), sort_keys=True)}
    if classes is not None:
        metadata["classes"] = json.dumps(classes)
    _replace(path, lambda temporary: save_file(tensors, temporary, metadata=metadata))


def save_state(path: Path, state: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Write what a run needs to go on, and keep the state before it. Raises OutputError as `save_weights`."""
    content = {"format": FORMAT, "facts": json.dumps(dict(facts), sort_keys=True), **state}

    def write(temporary: Path) -> None:
        torch.save(content, temporary)
        _keep(path, previous_of(path))

    _replace(path, write)


def previous_of(path: Path) -> Path:
    """Where the state before this one is kept."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def load_state(path: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The state of a run of exactly these facts.

    Raises:
        CheckpointError: no such file, a damaged or incomplete one, one of another format, or one of another model,
            recipe or data; says what differs.
    """
    if path.is_dir():
        path = path / STATE
    if not path.is_file():
        raise CheckpointError("the state of a training run", f"no file at {path}", "name a run's folder or state.pt")
    previous = previous_of(path)
    anew = f"go on from {previous.name} beside it" if previous.is_file() else "start anew with --fresh"
    try:
        with zipfile.ZipFile(path) as file:
            whole = file.testzip() is None  # torch reads on over a flipped bit
        found: Any = torch.load(path, map_location="cpu", weights_only=True) if whole else None
        version, stored = found.pop("format"), json.loads(found.pop("facts"))
    except Exception as error:  # damaged bytes stop the reader anywhere
        raise CheckpointError("a state.pt of stmbench", f"{path.name}, damaged or foreign", anew) from error
    if version != FORMAT:
        got = f"format {version!r} in {path.name}"
        raise CheckpointError(f"a state of format {FORMAT}", got, f"use the stmbench that wrote it, or {anew}")
    missing = [key for key in KEYS if key not in found]
    if missing:
        raise CheckpointError(f"a state with {', '.join(KEYS)}", f"{path.name} without {missing[0]}", anew)
    try:
        Record.of(found["record"])
    except Exception as error:
        raise CheckpointError("a state with a run's record", f"another in {path.name}", anew) from error
    wanted = json.loads(json.dumps(dict(facts)))
    different = list(_differences(stored, wanted))
    if different:
        name, old, new = different[0]
        more = f" and {len(different) - 1} more" if len(different) > 1 else ""
        remedy = "resume with the options it was started with, or train afresh with --fresh"
        raise CheckpointError(f"a state of a run with {name} {new!r}", f"{old!r}{more}", remedy)
    return dict(found)


def _differences(old: Any, new: Any, name: str = "") -> Any:
    """(name, old, new) of every fact that is not the same."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from _differences(old.get(key), new.get(key), f"{name}.{key}".lstrip("."))
    elif old != new:
        yield name, old, new


def _keep(path: Path, previous: Path) -> None:
    """Let the older state have its other name as well; there is a whole one under either at any time."""
    if not path.is_file():
        return
    previous.unlink(missing_ok=True)
    try:
        os.link(path, previous)
    except OSError:  # a file system without links
        with contextlib.suppress(OSError):
            os.replace(path, previous)


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    try:
        with replacing(path, durable=True) as temporary:
            write(temporary)
    except Exception as error:  # torch and safetensors have errors of their own for a full disk
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        remedy = "free space and run the same command again: the older checkpoint is whole"
        raise OutputError(f"to write {path.name}", reason, remedy) from error
