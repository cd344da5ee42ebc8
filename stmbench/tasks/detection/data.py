"""The images of a run: those of one split with objects in them to train on, all of another one to be judged by."""

from __future__ import annotations

from stmbench.architectures.catalog import ModelName
from stmbench.architectures.detectors.base import DETECTORS
from stmbench.data.detection.batches import training_images
from stmbench.data.detection.detection_set import DetectionSet
from stmbench.data.detection.sets import open_detection_set
from stmbench.data.image_selection import select_images
from stmbench.errors import ConfigError
from stmbench.measure.detection.matching import run_lengths
from stmbench.tasks.base import TrainingData
from stmbench.training.settings import TrainingSettings


def open_data(settings: TrainingSettings) -> TrainingData[DetectionSet]:
    """Open both splits.

    Raises:
        ConfigError: a split that is not there, classes that differ, a model with another number of classes, no images
            with objects, or a detector of masks on a set without. InputError: no such set, or one that is corrupt.
        MissingPackageError: masks, without the package that reads them.
    """
    for name, value in (("--classes", settings.classes), ("--labels", settings.labels)):
        if value is not None:
            raise ConfigError(f"no {name} for a detector", str(value), "leave it out")
    train, test = (
        open_detection_set(settings.dataset, split=split, seed=0, limit_corrupt=settings.limit_corrupt)
        for split in (settings.train_split, settings.test_split)
    )
    if train.categories != test.categories:
        strangers = sorted({*train.categories} ^ {*test.categories})
        got = f"{', '.join(strangers[:3])} in one of them" if strangers else "another order"
        raise ConfigError(f"the same classes in {train.split} and {test.split}", got, "correct the annotations")
    require_masks(settings.model, train, test)
    classes = len(train.categories)
    asked = ModelName.parse(settings.model).options.get("num_classes", classes)
    if asked != classes:
        remedy = f"leave num_classes out of {settings.model}, or use another set"
        raise ConfigError(f"a data set with the detector's {asked} classes", f"{classes} in {train.name}", remedy)
    if not test.annotated().any():
        got = f"none in {test.name}'s {test.split}"
        raise ConfigError("images with objects to be judged by", got, "correct the annotations, or change --split")
    possible, _ = training_images(train)
    count = round(len(train) * settings.data_fraction)
    chosen = possible
    if settings.data_fraction < 1:
        some = {*select_images(train, count, settings.seed)} if count else set()
        chosen = tuple(index for index in possible if index in some)
    if not chosen:
        got = f"none of {len(train)} in {train.name}'s {train.split}"
        raise ConfigError("images with objects to train on", got, "raise --data-fraction")
    return TrainingData(train=train, test=test, chosen=chosen, num_classes=classes)


def require_masks(model: str, *sets: DetectionSet) -> None:
    """Raise unless every object has the mask that a detector wants, and what reads it is installed."""
    kind = ModelName.parse(model).detector
    assert kind is not None, model
    if not DETECTORS.get(kind).has_masks:
        return
    for images in sets:
        if not images.has_masks:
            remedy = "use a detector of boxes, such as fasterrcnn or retinanet"
            raise ConfigError(f"masks of the objects, for {kind}", f"{images.name} without masks", remedy)
    run_lengths()
