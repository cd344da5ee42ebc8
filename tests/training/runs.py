"""Small training runs: 48 pictures of two classes in folders, three steps an epoch, seconds for a whole run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from stmbench.analyses.base import Listener
from stmbench.data.image_set import ImageSet
from stmbench.tables import Store
from stmbench.tasks.base import TrainingData
from stmbench.training import loop
from stmbench.training.analysis import Training
from stmbench.training.distributed import ProcessGroup
from stmbench.training.loop import Loop
from stmbench.training.presets import DIGITS, STM_CONV
from stmbench.training.recipe import Recipe
from stmbench.training.settings import TrainingSettings
from tests.data.builders import tree
from tests.data.memory_set import MemorySet

IDENTITY = "unified_identity_nano"
PLAIN = dataclasses.replace(DIGITS, epochs=3, batch_size=16, lr_batch=16, lr=1e-3)
# everything random at once: crops, flips, RandAugment, erasing, mixup and CutMix, drop path, dropout; and an average
RANDOM = dataclasses.replace(
    STM_CONV, epochs=3, batch_size=16, lr_batch=16, warmup_epochs=1, drop_path=0.3, dropout=0.2
)
STEPS = 3  # of an epoch


def folders(root: Path) -> Path:
    """The set on disk, with a split to train on and one to test on."""
    tree(root / "train", {"cat": 24, "dog": 24})
    tree(root / "test", {"cat": 5, "dog": 4})
    return root


def settings(dataset: Path | str = "memory", *, recipe: Recipe = PLAIN, model: str = IDENTITY, **rest: Any) -> Any:
    """One run's settings; state is saved as often as it can be."""
    return TrainingSettings(model=model, recipe=recipe, dataset=str(dataset), **{"save_seconds": 0.0, **rest})


def training(out: Path, *runs: TrainingSettings, listener: Listener | None = None, **rest: Any) -> Training:
    """The analysis of these runs, which looks at the loss after each step."""
    loop.LOOK_EVERY = 1
    return Training(runs, Store(out), listener=listener, **rest)


def memory(count: int = 48, tests: int = 9) -> TrainingData[ImageSet]:
    """A set in memory with two classes."""
    train, test = MemorySet([0, 1] * (count // 2)), MemorySet([index % 2 for index in range(tests)])
    train.split = "train"
    return TrainingData(train=train, test=test, chosen=tuple(range(count)), num_classes=2)


def trained(
    run: TrainingSettings, data: TrainingData[ImageSet] | None = None, group: ProcessGroup | None = None
) -> Loop:
    """A loop after its last step; nothing is saved."""
    made = Loop(run, data or memory(), group or ProcessGroup(), keep=lambda *_: None, tell=lambda *_: None)
    made.run()
    return made
