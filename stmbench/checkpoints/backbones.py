"""Weights of a classification model, or of self-supervision without a head, for the trunk of a detector."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from stmbench.architectures.catalog import ModelName, create_model
from stmbench.architectures.detectors.trunk import load_trunk
from stmbench.architectures.feature_extractor import as_feature_extractor, is_without_classifier
from stmbench.checkpoints.families import num_classes_of
from stmbench.checkpoints.loading import LoadedWeights, load_checkpoint
from stmbench.checkpoints.reading import read_weights
from stmbench.checkpoints.selection import Checkpoint
from stmbench.checkpoints.trained import trained_checkpoints


def backbone_checkpoint(path: Path, detector: str) -> Checkpoint:
    """The weights for a detector's backbone: a file, or those of its model's newest training in a store.

    Raises:
        ConfigError: a folder without a training of that model.
    """
    path = path.expanduser()
    if not path.is_dir():
        return Checkpoint.of(path)
    backbone = ModelName.parse(detector).backbone
    return trained_checkpoints(path, [backbone])[backbone]


def read_backbone(detector: str, checkpoint: Checkpoint) -> tuple[nn.Module, LoadedWeights]:
    """The model of a detector's backbone, by the detector's name, with the weights of a checkpoint.

    It is a classification model, or a feature extractor where the file has no head.

    Raises:
        CheckpointError: weights that cannot be read or are another model's.
    """
    stored, name = read_weights(checkpoint), ModelName.parse(detector)
    model = create_model(name.backbone)
    classifier = getattr(model, "default_cfg", {}).get("classifier")
    first = next(iter(classifier), None) if isinstance(classifier, tuple | list) else classifier
    classes = num_classes_of(stored.tensors, first) if first else None
    if classes is not None and classes != getattr(model, "num_classes", classes):
        model = create_model(name.backbone, num_classes=classes)
    if is_without_classifier(model, stored.state):
        as_feature_extractor(model)
    return model, load_checkpoint(model, stored)


def load_backbone(detector: nn.Module, name: str, checkpoint: Checkpoint) -> None:
    """Load them into the detector's trunk; the head, and norms that the trunk has not, are left out."""
    model, _ = read_backbone(name, checkpoint)
    load_trunk(detector, model.state_dict())
