"""The images of a run: a share of each class to train on, all of another split to be judged by."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

from stmbench.architectures.catalog import ModelName
from stmbench.data.image_set import ImageSet
from stmbench.data.sampling import choose, require_labels
from stmbench.data.sets import open_set
from stmbench.errors import ConfigError
from stmbench.training.settings import TrainingSettings


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TrainingData:
    """Two sets with the same classes, and the numbers of the images to train on."""

    train: ImageSet
    test: ImageSet
    chosen: tuple[int, ...]
    num_classes: int

    @property
    def fingerprints(self) -> dict[str, str]:
        """What the two sets are functions of."""
        return {"train": self.train.fingerprint(), "test": self.test.fingerprint()}


def open_data(settings: TrainingSettings) -> TrainingData:
    """Open both splits.

    Raises:
        ConfigError: a split that is not there, classes that differ, a model with another number of classes, fewer
            images than a step takes. InputError: no set, or one without labels.
    """
    train = _opened(settings.dataset, settings.train_split)
    test = _opened(settings.dataset, settings.test_split)
    for found in (train, test):
        if found.labels() is None or found.classes is None:
            require_labels(found, range(len(found)), 0)
            raise ConfigError("a data set that names its classes", found.name, "use a folder for each class")
    assert train.classes is not None
    if train.classes != test.classes:
        strangers = sorted({*train.classes} ^ {*(test.classes or ())})
        got = f"{', '.join(strangers[:3])} in one of them" if strangers else "another order"
        raise ConfigError(f"the same classes in {train.split} and {test.split}", got, "correct the folders")
    classes = len(train.classes)
    asked = dict(ModelName.parse(settings.model).options).get("num_classes", classes)
    if asked != classes:
        remedy = f"leave num_classes out of {settings.model}, or use another set"
        raise ConfigError(f"a data set with the model's {asked} classes", f"{classes} in {train.name}", remedy)
    count = len(train) if settings.data_fraction == 1 else round(len(train) * settings.data_fraction)
    if count < settings.recipe.batch_size:
        remedy = "lower --batch-size, or train on more images"
        got = f"{count} in {train.name}'s {train.split}"
        raise ConfigError(f"at least the {settings.recipe.batch_size} images of one step", got, remedy)
    chosen = choose(train, None if count == len(train) else count, settings.seed)
    return TrainingData(train=train, test=test, chosen=tuple(chosen), num_classes=classes)


@functools.lru_cache(maxsize=8)
def _listed(dataset: str, split: str, stamp: tuple[int, ...]) -> ImageSet:
    """A set, listed once in a process: an experiment asks for it at every task, and a million files take a while."""
    return open_set(dataset, split=split, seed=0)


def _opened(dataset: str, split: str) -> ImageSet:
    return _listed(dataset, split, _stamp(dataset))


def _stamp(dataset: str) -> tuple[int, ...]:
    """What changes when files come or go: the times of a folder, of what is in it, and of the folders in those."""
    path = Path(dataset).expanduser()
    if not path.is_dir():
        return ()
    within = sorted(path.iterdir())
    deeper = [place for item in within if item.is_dir() for place in sorted(item.iterdir()) if place.is_dir()]
    return tuple(place.stat().st_mtime_ns for place in (path, *within, *deeper))
