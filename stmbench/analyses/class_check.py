"""Whether a set's classes are a model's: labels of other classes give wrong accuracies that nothing shows."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stmbench.analyses.loaded_model import LoadedModel
from stmbench.checkpoints.inspection import class_names
from stmbench.checkpoints.selection import Checkpoint
from stmbench.data.class_maps import IMAGENET, NUMBERS, SYNSET, synsets
from stmbench.data.image_set import ImageSet
from stmbench.data.loading import Batches
from stmbench.errors import InputError

SHOWN = 4
FILE = "write a CSV of name,index (index: the model's output) and give it with --classes FILE.csv"


class ChosenOutputs(nn.Module):
    """A model's logits of some classes, (B, len(outputs)), in their order."""

    def __init__(self, model: nn.Module, outputs: tuple[int, ...]) -> None:
        super().__init__()
        self.model = model
        device = next(model.parameters(), torch.empty(0)).device
        self.register_buffer("outputs", torch.tensor(outputs, device=device), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, len(outputs))."""
        logits: Tensor = self.model(images)
        return logits.index_select(1, self.outputs)  # type: ignore[arg-type]


def on_its_classes(subject: LoadedModel, images: ImageSet, checkpoint: Checkpoint | Path | None) -> LoadedModel:
    """The model, cut down to the outputs of the set's classes where a mapping says which they are.

    Raises:
        InputError: classes that are not the model's, by number or by name; labels beyond its outputs.
    """
    if images.outputs is not None:
        if images.model_classes not in (None, subject.num_classes):
            got = f"{subject.num_classes} in {subject.name}"
            raise InputError(f"a model of the {images.model_classes} classes of {images.name}", got, "map with a file")
        if images.outputs[-1] >= subject.num_classes:
            got = f"output {images.outputs[-1]} for {(images.classes or ('?',))[-1]!r}"
            raise InputError(f"outputs below {subject.num_classes}, the model's number", got, "correct --classes")
        if images.outputs == tuple(range(subject.num_classes)):
            return subject
        model = ChosenOutputs(subject.model, images.outputs).eval()
        return dataclasses.replace(subject, model=model, num_classes=len(images.outputs))
    if images.classes is not None:
        _require_same(subject, images.name, images.classes, None if subject.is_untrained else checkpoint)
    return subject


def what_is_left_out(subject: LoadedModel, images: ImageSet) -> str | None:
    """A sentence on the outputs that the set's classes leave out."""
    if not isinstance(subject.model, ChosenOutputs):
        return None
    return f"{images.name}: judged on {subject.num_classes} classes, the logits of the model's others are left out"


def _require_same(
    subject: LoadedModel, name: str, classes: tuple[str, ...], checkpoint: Checkpoint | Path | None
) -> None:
    if len(classes) != subject.num_classes:
        synset = all(SYNSET.fullmatch(found) for found in classes)
        remedy = f"use --classes imagenet-1k (or {', '.join(IMAGENET[1:])})" if synset else FILE
        got = f"{len(classes)} in {name} ({_listed(classes)})"
        raise InputError(f"the model's {subject.num_classes} classes", got, remedy)
    known = None if checkpoint is None else _names_of(subject, classes, checkpoint)
    if known is not None and known != classes:
        first = next(place for place, (one, other) in enumerate(zip(known, classes, strict=True)) if one != other)
        got = f"{classes[first]!r} in its place in {name} ({_listed(classes)})"
        raise InputError(f"the model's classes ({_listed(known)}), {known[first]!r} for number {first}", got, FILE)
    if known is None and checkpoint is not None and all(found.isdecimal() for found in classes):
        order = tuple(sorted(classes, key=lambda found: (int(found), found)))
        if order != classes:
            got = f"{_listed(classes)} in {name}, in alphabetical order"
            remedy = f"use --classes {NUMBERS} where a folder's name is the model's output; else {FILE}"
            raise InputError("classes whose order is sure", got, remedy)


def _names_of(subject: LoadedModel, classes: tuple[str, ...], checkpoint: Checkpoint | Path) -> tuple[str, ...] | None:
    """The model's names of its classes: from the checkpoint, its timm config, or ImageNet's where that is meant."""
    named = class_names(checkpoint)
    if named is None:
        config = getattr(subject.model, "pretrained_cfg", None) or {}
        labels = config.get("label_names") if isinstance(config, dict) else getattr(config, "label_names", None)
        named = tuple(map(str, labels)) if labels else None
    if named is None and subject.num_classes == len(synsets()) and all(SYNSET.fullmatch(found) for found in classes):
        named = synsets()
    return named if named is not None and len(named) == subject.num_classes else None


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def damage(found: Batches, images: ImageSet, subject: LoadedModel | None = None) -> dict[str, Any]:
    """Notes for an outcome: metadata, and warnings that the run's end shows."""
    reasons = [item.reason for item in found.corrupt]
    left = None if subject is None else what_is_left_out(subject, images)
    said = [("classes", 1.0, left)] if left else []
    if reasons:
        count = "1 corrupt image" if len(reasons) == 1 else f"{len(reasons)} corrupt images"
        text = f"skipped {count} of {images.name}{_replaced(found)}: {'; '.join(reasons[:3])}"
        said.append(("corrupt", float(len(reasons)), text + (", ..." if len(reasons) > 3 else "")))
    replaced = {images.title(broken): images.title(other) for broken, other in found.replaced.items()}
    known = {"corrupt": reasons, "replaced": replaced, "passed_over": list(images.remarks)}
    if not said:
        return known
    return {
        **known,
        "warnings": [text for _, _, text in said],
        "disturbances": [{"kind": kind, "amount": amount, "text": text} for kind, amount, text in said],
    }


def _replaced(found: Batches) -> str:
    """How many of the chosen images others stand for, where any do."""
    count, lost = len(found.replaced), len(found.corrupt)
    if not count:
        return ""
    by = "another image" if count == 1 else "other images"
    return f", replaced by {by}" if count == lost else f", {count} of them replaced by {by}"
