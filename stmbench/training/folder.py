"""The folder of one run: which file is kept when, and the way back in."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stmbench.errors import OutputError
from stmbench.tables.writing import remove_stale_temporaries
from stmbench.training.loop import Loop
from stmbench.training.settings import TrainingSettings
from stmbench.training.state import PREVIOUS, STATE, save_state, save_weights

LAST, BEST = "last.safetensors", "best.safetensors"
REFUSED = "state.refused.pt"  # a state that could not be used is set aside, for who wants to look


class RunFolder:
    """Keeps what a loop reaches.

    `source` is what tables call the weights, `facts` what the run is a function of, `classes` the outputs' names.
    """

    def __init__(
        self,
        path: Path,
        settings: TrainingSettings,
        source: str,
        facts: Mapping[str, Any],
        classes: tuple[str, ...] | None = None,
    ) -> None:
        self.path, self.settings, self.source, self.facts, self.classes = path, settings, source, facts, classes
        self.refused: set[str] = set()  # names of states that could not be used
        self._saved = time.monotonic()
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
        if not fresh or not self.path.exists():
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
        if reached == "epoch":
            self._log(loop)
            if self.settings.keep_every and epochs % self.settings.keep_every == 0:
                name = f"epoch-{epochs:04d}.safetensors"
                self._weights(name, loop.result.state_dict(), f"{self.source}.epoch{epochs}")
        if reached == "end" or time.monotonic() - self._saved >= self.settings.save_seconds:
            self._weights(LAST, loop.model.state_dict(), self.source)
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
