"""A model that is looked at: with its weights, what they are called, and how it wants its images."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import torch
from torch import Tensor, nn

from stmbench.analyses.models import DTYPES, meta_model, own_weights, require_resolution
from stmbench.architectures.catalog import ModelName, create_model
from stmbench.architectures.given_models import is_given
from stmbench.checkpoints.families import num_classes_of
from stmbench.checkpoints.loading import load_checkpoint
from stmbench.checkpoints.reading import StoredWeights, read_weights
from stmbench.checkpoints.selection import Checkpoint
from stmbench.data.image_set import ImageSet
from stmbench.data.preprocessing import Preprocessing
from stmbench.errors import CheckpointError, UnitError
from stmbench.tables.labels import is_random


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LoadedModel:
    """A model in eval mode without gradients of its parameters.

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
        with torch.inference_mode():
            found = self.model(self.input(pixels))
        if not isinstance(found, Tensor) or found.ndim != 2:
            what = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise UnitError(f"expected logits (B, classes), got {what}; give a model with a classifier")
        return finite(found.float())


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
        checkpoint: weights; None leaves random ones that depend on `seed` alone.
        dtype: fp32 (or tf32), bf16 or fp16, of the weights and of what goes through them.
        num_classes: of the head, for random weights and where the name does not say it; with a checkpoint it is the
            checkpoint's. None is the model's own.
        resolution: of the images, in place of the model's input size.

    Raises:
        CheckpointError: weights that cannot be read or are another model's. UnknownNameError, ConfigError: the name.
    """
    options = dict(ModelName.parse(name).options)
    stored = None if checkpoint is None else _stored(name, checkpoint)
    if "num_classes" not in options and not is_given(name):
        wanted = num_classes if stored is None else _classes_in(name, stored)
        options |= {} if wanted is None else {"num_classes": wanted}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = create_model(name, **options)
    loaded = None if stored is None else load_checkpoint(model, stored)
    preprocessing = Preprocessing.of(model, resolution)
    require_resolution(model.eval(), name, preprocessing.size)
    model = model.to(device=device, dtype=DTYPES[dtype]).eval().requires_grad_(False)
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
    subject = load_model(name, checkpoint)
    return subject.weights, subject.remark


def _stored(name: str, checkpoint: Checkpoint | str | Path) -> StoredWeights:
    if is_given(name):
        got = f"{Checkpoint.of(checkpoint).path.name} for {name}"
        raise CheckpointError("no checkpoint for a module, which has weights", got, "load them into the module")
    return read_weights(checkpoint)


def _classes_in(name: str, stored: StoredWeights) -> int | None:
    """Rows of the classifier in a checkpoint; None where it has none that is known, which loading then says."""
    classifier = getattr(meta_model(name), "default_cfg", {}).get("classifier")
    if isinstance(classifier, (tuple, list)):  # a second head, for distillation, has as many
        classifier = next(iter(classifier), None)
    return num_classes_of(stored.tensors, classifier) if classifier else None
