"""What one training run is asked for, besides its recipe."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stmbench.errors import ConfigError, UnknownNameError, require
from stmbench.training.recipe import Recipe

if TYPE_CHECKING:
    from stmbench.checkpoints.selection import Checkpoint

DTYPES = ("fp32", "tf32", "bf16", "fp16", "fp64")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """A model, its data and how the work is done.

    What is in `facts` decides the result (to rounding); the rest is how to get there. `batch_size` of the recipe is
    split over processes and over `accumulate` backward passes.
    """

    model: str
    recipe: Recipe
    dataset: str
    train_split: str = "train"
    test_split: str = "test"
    classes: str | None = None  # and labels: see `open_set`; the sets' fingerprints stand for them
    labels: Path | None = None
    data_fraction: float = 1.0  # of each class
    seed: int = 0
    dtype: str = "fp32"  # fp32; tf32; bf16 and fp16 by autocast; fp64 throughout
    accumulate: int = 1
    resolution: tuple[int, int] | None = None
    grad_checkpointing: bool = False
    compile: bool = False
    channels_last: bool = False
    workers: int | None = 0  # processes that decode ahead; None: as many as help, see `decoding_workers`
    limit_corrupt: int = 10
    keep_every: int | None = None  # epochs; their weights stay
    save_seconds: float = 30.0  # between two savings of the state
    tensorboard: bool = False
    backbone: Checkpoint | None = None  # weights that a detector's trunk begins with, and what tables call them
    backbone_weights: str | None = None
    remarks: tuple[str, ...] = ()  # on how these settings came about

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise UnknownNameError("dtype", self.dtype, DTYPES)
        require(0 < self.data_fraction <= 1, "a data fraction above 0 and up to 1", self.data_fraction)
        require(self.accumulate >= 1, "accumulate >= 1", self.accumulate)
        if self.recipe.batch_size % self.accumulate:
            got = f"{self.recipe.batch_size} images in {self.accumulate} passes"
            raise ConfigError("a batch size that can be divided", got, "change --batch-size or --accumulate")
        require(self.workers is None or self.workers >= 0, "workers >= 0", self.workers)
        require(self.keep_every is None or self.keep_every >= 1, "keep_every >= 1", self.keep_every)

    @property
    def facts(self) -> dict[str, Any]:
        """What the result is a function of, besides model, seed and the sets' contents."""
        return {
            "recipe": self.recipe.facts,
            "data_fraction": self.data_fraction,
            "dtype": self.dtype,
            "accumulate": self.accumulate,
            "resolution": list(self.resolution) if self.resolution else None,
            **({"backbone": self.backbone_weights} if self.backbone_weights else {}),
        }


_ORDER = 3  # sets the order apart from images (1), steps (2) and shifts of images (4)


def seed_at(*place: int) -> None:
    """Seed Python, NumPy and torch with a mixture of the numbers: (seed, epoch, image), (seed, epoch, step, rank)."""
    import numpy as np
    import torch

    state = np.random.SeedSequence(place).generate_state(2)
    random.seed(int(state[0]))
    np.random.seed(int(state[0]))
    seed = int(state[0]) << 32 | int(state[1])
    # torch.manual_seed notes a stack for each kind of device that is not in use: 100 us, and each image is seeded
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(seed)


def order_seed(seed: int) -> int:
    """The seed of the images' order. torch adds the epoch to it, so those of two runs must not be neighbours."""
    import numpy as np

    return int(np.random.SeedSequence((seed, _ORDER)).generate_state(1)[0]) % 2**31
