"""A model with its weights, what they are called, how it wants its images, and whether a set's classes are its own."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stmbench.analyses.models import DTYPES, meta_model, own_weights, require_resolution, require_support
from stmbench.architectures.catalog import ModelName, create_model
from stmbench.architectures.detectors.base import side_options, sides_of
from stmbench.architectures.feature_extractor import as_feature_extractor, is_without_classifier
from stmbench.architectures.given_models import is_given
from stmbench.checkpoints.families import num_classes_of
from stmbench.checkpoints.inspection import class_names
from stmbench.checkpoints.loading import load_checkpoint
from stmbench.checkpoints.reading import StoredWeights, read_weights
from stmbench.checkpoints.selection import Checkpoint
from stmbench.data.class_maps import IMAGENET, NUMBERS, SYNSET, synsets
from stmbench.data.image_set import ImageSet
from stmbench.data.loading import Batches
from stmbench.data.preprocessing import Preprocessing
from stmbench.errors import InputError, UnitError
from stmbench.tables.labels import is_random


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LoadedModel:
    """A model in eval mode without gradients of its parameters. The size of a detector's images is (shorter, longer).

    `weights` is the table's: 'random:<seed>', the file's name and the hash of the tensors, or 'given:' and their hash.
    `remark` says which of a file's weights were taken.
    """

    name: str
    model: nn.Module
    weights: str
    preprocessing: Preprocessing
    num_classes: int
    device: torch.device
    dtype: torch.dtype
    remark: str | None = None

    @property
    def is_untrained(self) -> bool:
        """Whether the weights are random, which every row and figure has to say."""
        return is_random(self.weights)

    def input(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) float32 in [0, 1] -> the model's input on its device: normalised in float32, then its dtype."""
        return self.preprocessing.normalise(pixels.to(self.device, torch.float32)).to(self.dtype)

    def logits(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) float32 in [0, 1] -> (B, num_classes) float32 on the model's device, in inference mode.

        Raises:
            UnitError: NaN or infinite logits, or none.
        """
        if self.num_classes == 0:
            got = f"{self.name} with {self.weights}, which gives features alone"
            raise UnitError(f"expected a model with a classifier, got {got}; measure it with `stmbench probe`")
        with torch.inference_mode():
            logits = self.model(self.input(pixels))
        if not isinstance(logits, Tensor) or logits.ndim != 2:
            what = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise UnitError(f"expected logits (B, classes), got {what}; give a model with a classifier")
        return finite(logits.float())


def finite(logits: Tensor) -> Tensor:
    """The logits as they are. Raises UnitError where one is NaN or infinite: every rank of classes would be noise."""
    wrong = ~torch.isfinite(logits).all(dim=-1)
    if bool(wrong.any()):
        kind = "NaN" if bool(logits.isnan().any()) else "infinite"
        raise UnitError(f"{kind} logits for {int(wrong.sum())} of the {len(wrong)} images in a batch")
    return logits


def load_model(
    name: str,
    checkpoint: Checkpoint | str | Path | None = None,
    seed: int = 0,
    device: str = "cpu",
    dtype: str = "fp32",
    num_classes: int | None = None,
    resolution: int | tuple[int, int] | None = None,
) -> LoadedModel:
    """Build a model for an analysis of images.

    Args:
        name: of the model, options in brackets included.
        checkpoint: weights; None leaves random ones that depend on `seed` alone, and a given module its own.
        dtype: fp32 (or tf32), bf16 or fp16, of the weights and of what goes through them.
        num_classes: of the head, for random weights and where the name does not say it; with a checkpoint it is the
            checkpoint's: without a head, as self-supervision leaves it, the model gives features (`num_classes` 0).
            None is the model's own.
        resolution: of the images, in place of the model's input size.

    Raises:
        CheckpointError: weights that cannot be read or are another model's. UnknownNameError, ConfigError: the name.
    """
    require_support(name, device=device, dtype=dtype)
    parsed = ModelName.parse(name)
    options = dict(parsed.options)
    stored = None if checkpoint is None else read_weights(checkpoint)
    if "num_classes" not in options and not is_given(name):
        wanted = num_classes if stored is None else _classes_in(name, stored, checkpoint)
        options |= {} if wanted is None else {"num_classes": wanted}
    if parsed.detector is not None and resolution is not None:
        options |= side_options(resolution)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = create_model(name, **options)
    if stored is not None and parsed.detector is None and is_without_classifier(model, stored.state):
        as_feature_extractor(model)
    loaded = None if stored is None else load_checkpoint(model, stored)
    if parsed.detector is not None:
        preprocessing, kept = Preprocessing(size=sides_of(model)), torch.float32  # lower ones by autocast
    else:
        preprocessing, kept = Preprocessing.of(model, resolution), DTYPES[dtype]
        require_resolution(model.to(device).eval(), name, preprocessing.size)
    model = model.to(device=device, dtype=kept).eval().requires_grad_(False)
    return LoadedModel(
        name=name,
        model=model,
        weights=own_weights(name, seed) if loaded is None else loaded.label,
        remark=None if loaded is None else loaded.remark,
        preprocessing=preprocessing,
        num_classes=int(getattr(model, "num_classes", options.get("num_classes", 1000))),
        device=torch.device(device),
        dtype=DTYPES[dtype],
    )


def classes_for(image_set: ImageSet) -> int | None:
    """Classes of an untrained model for this set: as many as it names; None, the model's own, where it names none."""
    return len(image_set.classes) if image_set.outputs is None and image_set.classes is not None else None


def weights_label(name: str, checkpoint: Checkpoint | str | Path | None, seed: int) -> str:
    """What `load_model` will call the weights; a unit's key needs it before the unit is measured.

    Raises:
        CheckpointError: weights that cannot be read or are another model's.
    """
    return own_weights(name, seed) if checkpoint is None else _described(name, checkpoint)[0]


def weights_remark(name: str, checkpoint: Checkpoint | str | Path | None) -> str | None:
    """Which of a file's weights are taken, where there is a choice. Raises CheckpointError."""
    return None if checkpoint is None else _described(name, checkpoint)[1]


def _described(name: str, checkpoint: Checkpoint | str | Path) -> tuple[str, str | None]:
    """(label, remark) of the file as it is now."""
    given = Checkpoint.of(checkpoint)
    status = given.path.stat() if given.path.is_file() else None
    return _of_version(name, given, (status.st_mtime_ns, status.st_size) if status else ())


@functools.lru_cache(maxsize=256)
def _of_version(name: str, checkpoint: Checkpoint, version: tuple[int, ...]) -> tuple[str, str | None]:
    loaded = load_model(name, checkpoint)
    return loaded.weights, loaded.remark


def _classes_in(name: str, stored: StoredWeights, checkpoint: Checkpoint | str | Path | None) -> int | None:
    """Rows of the classifier in a checkpoint; None where it has none that is known, which loading then says.

    Of a detector it is the names of its classes that are counted, which a training writes into the file.
    """
    if ModelName.parse(name).detector is not None:
        names = None if checkpoint is None else class_names(checkpoint)
        return None if names is None else len(names)
    classifier = getattr(meta_model(name), "default_cfg", {}).get("classifier")
    if isinstance(classifier, (tuple, list)):  # a second head, for distillation, has as many
        classifier = next(iter(classifier), None)
    return num_classes_of(stored.tensors, classifier) if classifier else None


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


def on_its_classes(loaded: LoadedModel, images: ImageSet, checkpoint: Checkpoint | Path | None) -> LoadedModel:
    """The model, cut down to the outputs of the set's classes where a mapping says which they are.

    Raises:
        InputError: classes that are not the model's, by number or by name; labels beyond its outputs; a model that
            gives features alone.
    """
    if loaded.num_classes == 0:
        got = f"{loaded.name} with {loaded.weights}, which gives features alone"
        raise InputError("a model with a classifier", got, "measure it with `stmbench probe`")
    if images.outputs is not None:
        if images.model_classes not in (None, loaded.num_classes):
            got = f"{loaded.num_classes} in {loaded.name}"
            raise InputError(f"a model of the {images.model_classes} classes of {images.name}", got, "map with a file")
        if images.outputs[-1] >= loaded.num_classes:
            got = f"output {images.outputs[-1]} for {(images.classes or ('?',))[-1]!r}"
            raise InputError(f"outputs below {loaded.num_classes}, the model's number", got, "correct --classes")
        if images.outputs == tuple(range(loaded.num_classes)):
            return loaded
        model = ChosenOutputs(loaded.model, images.outputs).eval()
        return dataclasses.replace(loaded, model=model, num_classes=len(images.outputs))
    if images.classes is not None:
        _require_same(loaded, images.name, images.classes, None if loaded.is_untrained else checkpoint)
    return loaded


def what_is_left_out(loaded: LoadedModel, images: ImageSet) -> str | None:
    """A sentence on the outputs that the set's classes leave out."""
    if not isinstance(loaded.model, ChosenOutputs):
        return None
    return f"{images.name}: judged on {loaded.num_classes} classes, the logits of the model's others are left out"


def _require_same(
    loaded: LoadedModel, name: str, classes: tuple[str, ...], checkpoint: Checkpoint | Path | None
) -> None:
    if len(classes) != loaded.num_classes:
        synset = all(SYNSET.fullmatch(label) for label in classes)
        remedy = f"use --classes imagenet-1k (or {', '.join(IMAGENET[1:])})" if synset else FILE
        got = f"{len(classes)} in {name} ({_listed(classes)})"
        raise InputError(f"the model's {loaded.num_classes} classes", got, remedy)
    known = None if checkpoint is None else _names_of(loaded, classes, checkpoint)
    if known is not None and known != classes:
        first = next(place for place, (one, other) in enumerate(zip(known, classes, strict=True)) if one != other)
        got = f"{classes[first]!r} in its place in {name} ({_listed(classes)})"
        raise InputError(f"the model's classes ({_listed(known)}), {known[first]!r} for number {first}", got, FILE)
    if known is None and checkpoint is not None and all(label.isdecimal() for label in classes):
        order = tuple(sorted(classes, key=lambda label: (int(label), label)))
        if order != classes:
            got = f"{_listed(classes)} in {name}, in alphabetical order"
            remedy = f"use --classes {NUMBERS} where a folder's name is the model's output; else {FILE}"
            raise InputError("classes whose order is sure", got, remedy)


def _names_of(loaded: LoadedModel, classes: tuple[str, ...], checkpoint: Checkpoint | Path) -> tuple[str, ...] | None:
    """The model's names of its classes: from the checkpoint, its timm config, or ImageNet's where that is meant."""
    named = class_names(checkpoint)
    if named is None:
        config = getattr(loaded.model, "pretrained_cfg", None) or {}
        labels = config.get("label_names") if isinstance(config, dict) else getattr(config, "label_names", None)
        named = tuple(map(str, labels)) if labels else None
    if named is None and loaded.num_classes == len(synsets()) and all(SYNSET.fullmatch(label) for label in classes):
        named = synsets()
    return named if named is not None and len(named) == loaded.num_classes else None


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def damage(batches: Batches, images: ImageSet, loaded: LoadedModel | None = None) -> dict[str, Any]:
    """Notes for an outcome: metadata, and warnings that the run's end shows."""
    reasons = [item.reason for item in batches.corrupt]
    left = None if loaded is None else what_is_left_out(loaded, images)
    said = [("classes", 1.0, left)] if left else []
    if reasons:
        count = "1 corrupt image" if len(reasons) == 1 else f"{len(reasons)} corrupt images"
        text = f"skipped {count} of {images.name}{_replaced(batches)}: {'; '.join(reasons[:3])}"
        said.append((f"corrupt in {images.column}", float(len(reasons)), text + (", ..." if len(reasons) > 3 else "")))
    replaced = {images.title(broken): images.title(other) for broken, other in batches.replaced.items()}
    known = {"corrupt": reasons, "replaced": replaced, "passed_over": list(images.remarks)}
    if not said:
        return known
    return {
        **known,
        "warnings": [text for _, _, text in said],
        "disturbances": [{"kind": kind, "amount": amount, "text": text} for kind, amount, text in said],
    }


def _replaced(batches: Batches) -> str:
    """How many of the chosen images others stand for, where any do."""
    count, lost = len(batches.replaced), len(batches.corrupt)
    if not count:
        return ""
    by = "another image" if count == 1 else "other images"
    return f", replaced by {by}" if count == lost else f", {count} of them replaced by {by}"
