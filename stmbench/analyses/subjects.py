"""A model that is looked at: with its weights, what they are called, and how it wants its images."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import torch
from torch import Tensor, nn

from stmbench.analyses.models import DTYPES, outline
from stmbench.architectures.catalog import ModelName, create_model
from stmbench.checkpoints.loading import load_checkpoint
from stmbench.checkpoints.reading import read_state_dict
from stmbench.checkpoints.stm_evaluation import renamed
from stmbench.data.image_set import ImageSet
from stmbench.data.preprocessing import Preprocessing
from stmbench.errors import UnitError
from stmbench.tables.weights import is_random, random_label


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A model in eval mode without gradients of its parameters.

    `weights` is the table's: 'random:<seed>', or the file's name and the hash of the tensors.
    """

    name: str
    model: nn.Module
    weights: str
    preprocessing: Preprocessing
    num_classes: int
    device: torch.device
    dtype: torch.dtype

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
            UnitError: NaN or infinite logits.
        """
        with torch.inference_mode():
            found: Tensor = self.model(self.input(pixels)).float()
        return finite(found)


def finite(logits: Tensor) -> Tensor:
    """The logits as they are. Raises UnitError where one is NaN or infinite: every rank of classes would be noise."""
    wrong = ~torch.isfinite(logits).all(dim=-1)
    if bool(wrong.any()):
        kind = "NaN" if bool(logits.isnan().any()) else "infinite"
        raise UnitError(f"{kind} logits for {int(wrong.sum())} of the {len(wrong)} images in a batch")
    return logits


def load_subject(
    name: str,
    checkpoint: str | Path | None = None,
    seed: int = 0,
    device: str = "cpu",
    dtype: str = "fp32",
    num_classes: int | None = None,
    resolution: int | tuple[int, int] | None = None,
) -> Subject:
    """Build a model for an analysis of images.

    Args:
        name: of the model, options in brackets included.
        checkpoint: weights; None leaves random ones that depend on `seed` alone.
        dtype: fp32, bf16 or fp16, of the weights and of what goes through them.
        num_classes: of the head, for random weights and where the name does not say it; with a checkpoint it is the
            checkpoint's. None is the model's own.
        resolution: of the images, in place of the model's input size.

    Raises:
        CheckpointError: weights that cannot be read or are another model's. UnknownNameError, ConfigError: the name.
    """
    options = dict(ModelName.parse(name).options)
    if "num_classes" not in options:
        wanted = num_classes if checkpoint is None else _classes_in(name, checkpoint)
        options |= {} if wanted is None else {"num_classes": wanted}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = create_model(name, **options)
    weights = random_label(seed) if checkpoint is None else load_checkpoint(model, checkpoint).label
    preprocessing = Preprocessing.of(model, resolution)
    model = model.to(device=device, dtype=DTYPES[dtype]).eval().requires_grad_(False)
    return Subject(
        name=name,
        model=model,
        weights=weights,
        preprocessing=preprocessing,
        num_classes=int(getattr(model, "num_classes", options.get("num_classes", 1000))),
        device=torch.device(device),
        dtype=DTYPES[dtype],
    )


def classes_for(image_set: ImageSet) -> int | None:
    """Classes of an untrained model for this set: an embedded set's own number; None, the model's, for one on disk."""
    return len(image_set.classes) if image_set.embedded and image_set.classes is not None else None


def weights_label(name: str, checkpoint: str | Path | None, seed: int) -> str:
    """What `load_subject` will call the weights; a unit's key needs it before the unit is measured.

    Raises:
        CheckpointError: weights that cannot be read or are another model's.
    """
    if checkpoint is None:
        return random_label(seed)
    status = Path(checkpoint).stat() if Path(checkpoint).is_file() else None
    return _label(name, str(checkpoint), (status.st_mtime_ns, status.st_size) if status else ())


@functools.lru_cache(maxsize=256)
def _label(name: str, checkpoint: str, version: tuple[int, ...]) -> str:
    """Of one version of the file."""
    return load_subject(name, checkpoint).weights


def _classes_in(name: str, checkpoint: str | Path) -> int | None:
    """Rows of the classifier in a checkpoint; None where it has none that is known, which loading then says."""
    classifier = getattr(outline(name), "default_cfg", {}).get("classifier")
    for key, value in read_state_dict(checkpoint).items():
        if classifier and f"{classifier}.weight" in (key, renamed(key)) and value.ndim >= 2:
            return len(value)
    return None
