"""The images of a run: a share of each class to train on, all of another split to be judged by."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from stmbench.architectures.catalog import ModelName
from stmbench.architectures.given_models import is_given, num_classes_of
from stmbench.data.image_selection import require_labels, select_images
from stmbench.data.image_set import ImageSet
from stmbench.data.sets import open_set
from stmbench.errors import ConfigError, InputError
from stmbench.tasks.base import TrainingData
from stmbench.training.settings import TrainingSettings


def open_data(settings: TrainingSettings) -> TrainingData[ImageSet]:
    """Open both splits.

    Raises:
        ConfigError: a split that is not there, classes that differ, a model with another number of classes, no
            images. InputError: no set, or one without labels.
    """
    train, test = open_split(settings, settings.train_split), open_split(settings, settings.test_split)
    for found in (train, test):
        if found.labels() is None:
            require_labels(found, range(len(found)), 0)
        if found.answers is not None:
            raise ConfigError("one right answer for each image", f"several in {found.name}", "change --classes")
        if len(found.damaged) > settings.limit_corrupt:
            expected = f"at most {settings.limit_corrupt} corrupt images (--limit-corrupt)"
            raise InputError(expected, "; ".join(found.damaged[:3]), "fetch the files again")
    classes = _num_classes(train, test)
    asked, remedy = _classes_of_model(settings.model, classes)
    if asked != classes and (train.classes is not None or asked < classes):
        raise ConfigError(f"a data set with the model's {asked} classes", f"{classes} in {train.name}", remedy)
    count = len(train) if settings.data_fraction == 1 else round(len(train) * settings.data_fraction)
    if not count:
        got = f"none of {len(train)} in {train.name}'s {train.split}"
        raise ConfigError("images to train on", got, "raise --data-fraction")
    chosen = select_images(train, None if count == len(train) else count, settings.seed)
    return TrainingData(train=train, test=test, chosen=tuple(chosen), num_classes=asked)


def _classes_of_model(model: str, classes: int) -> tuple[int, str]:
    """How many classes a model has for a set of `classes`, and what to do where that is another number.

    Raises:
        ConfigError: a given module that does not say.
    """
    if not is_given(model):
        asked = ModelName.parse(model).options.get("num_classes", classes)
        return asked, f"leave num_classes out of {model}, or use another set"
    if (own := num_classes_of(model)) is None:
        remedy = f"give GivenModel(module=..., num_classes={classes})"
        raise ConfigError("a module whose number of classes is known", model, remedy)
    return own, f"give a module with {classes} outputs, or use another set"


def _num_classes(train: ImageSet, test: ImageSet) -> int:
    """Classes of both sets. Raises ConfigError where they differ, or for test images of a class without training."""
    if train.classes != test.classes:
        strangers = sorted({*(train.classes or ())} ^ {*(test.classes or ())})
        got = f"{', '.join(strangers[:3])} in one of them" if strangers else "another order"
        raise ConfigError(f"the same classes in {train.split} and {test.split}", got, "correct the folders")
    known, asked = train.labels(), test.labels()
    assert known is not None
    assert asked is not None
    strange = np.setdiff1d(asked, known)
    if len(strange):
        names = [train.classes[label] if train.classes else str(label) for label in strange[:3]]
        got = f"none of {', '.join(names)}, which {test.split} has"
        raise ConfigError(f"images of every class in {train.name}'s {train.split}", got, "correct the folders")
    classes = train.num_classes
    assert classes is not None
    return classes


@functools.lru_cache(maxsize=8)
def _listed(dataset: str, split: str, classes: str | None, labels: Path | None, stamp: tuple[int, ...]) -> ImageSet:
    """A set, listed once in a process: an experiment asks for it at every task, and a million files take a while."""
    return open_set(dataset, split=split, seed=0, classes=classes, labels=labels)


def open_split(settings: TrainingSettings, split: str) -> ImageSet:
    """One split of a run's set, with or without labels. Raises InputError or ConfigError."""
    stamp = (*_stamp(settings.dataset), *_changed(settings.labels), *_changed(settings.classes))
    return _listed(settings.dataset, split, settings.classes, settings.labels, stamp)


def _changed(file: str | Path | None) -> tuple[int, ...]:
    path = None if file is None else Path(file).expanduser()
    return () if path is None or not path.is_file() else (path.stat().st_mtime_ns,)


def _stamp(dataset: str) -> tuple[int, ...]:
    """What changes when files come or go: the times of a folder, of what is in it, and of the folders in those."""
    path = Path(dataset).expanduser()
    if not path.is_dir():
        return ()
    within = sorted(item for item in path.iterdir() if item.exists())
    deeper = [place for item in within if item.is_dir() for place in sorted(item.iterdir()) if place.is_dir()]
    return tuple(place.stat().st_mtime_ns for place in (path, *within, *deeper))
