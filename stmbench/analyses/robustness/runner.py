"""An attack over batches of images: what it did to each, and how far it went."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stmbench.analyses.robustness.attacks import Attack, predict
from stmbench.analyses.robustness.fgsm import Target
from stmbench.errors import UnitError
from stmbench.tables.writing import write_arrays

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

AT_ZERO = "attacked"  # the condition of rows at eps 0 that went through the attack: rows of the clean images have none


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcomes:
    """N images, E values of eps in ascending order.

    `labels` are what was attacked: the set's, or, where `own_labels`, the model's predictions on the clean images.
    `reach` is the largest change of a value, `low` and `high` the smallest and the largest value of any adversarial
    image at an eps. `probe` are the predictions at eps 0, made by the whole attack, for the first of the images.
    `zero_share` is NaN where the attack does not show its gradient.
    """

    eps: Floats  # (E,)
    indices: Integers  # (N,) into the image set
    labels: Integers  # (N,)
    clean: Integers  # (N,) predictions
    adversarial: Integers  # (E, N) predictions
    reach: Floats  # (E,)
    low: Floats  # (E,)
    high: Floats  # (E,)
    probe: Integers  # (at most N,)
    zero_share: Floats  # (N,)
    own_labels: bool

    @property
    def metric(self) -> str:
        """What a hit is called: accuracy on labels, consistency on the model's own predictions."""
        return "consistency" if self.own_labels else "accuracy"

    @property
    def clean_hits(self) -> NDArray[np.bool_]:
        """(N,) whether the clean prediction is the label."""
        return np.asarray(self.clean == self.labels)

    def hits(self, level: int) -> NDArray[np.bool_]:
        """(N,) whether the prediction at `eps[level]` is the label."""
        return np.asarray(self.adversarial[level] == self.labels)

    def levels(self) -> list[tuple[float, NDArray[np.bool_]]]:
        """(eps, hits) of the clean images, at eps 0, and of every eps above 0, in ascending order."""
        attacked = [(float(eps), self.hits(level)) for level, eps in enumerate(self.eps) if eps > 0]
        return [(0.0, self.clean_hits), *attacked]

    def attacked_at_zero(self) -> NDArray[np.bool_] | None:
        """(N,) hits after the whole attack at eps 0; None where that was not asked for."""
        return next((self.hits(level) for level, eps in enumerate(self.eps) if eps == 0), None)

    def write(self, path: Path) -> None:
        """Save as .npz, at once."""
        write_arrays(path, {field.name: getattr(self, field.name) for field in dataclasses.fields(self)})

    @classmethod
    def read(cls, path: Path) -> Outcomes:
        """What `write` saved."""
        with np.load(path, allow_pickle=False) as file:
            arrays = {field.name: file[field.name] for field in dataclasses.fields(cls)}
        return cls(**{**arrays, "own_labels": bool(arrays["own_labels"])})


PROBED = 4  # images that are attacked at eps 0 too; all of them are where eps 0 is asked for

Images = tuple[Tensor, Tensor | None, Sequence[int]]  # (B, 3, H, W) in [0, 1], labels, indices


@dataclasses.dataclass
class Limits:
    """The largest change of a value, and the smallest and the largest value, of all images at one eps."""

    reach: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    def take(self, images: Tensor, pixels: Tensor) -> None:
        """Widen by a batch: (B, 3, H, W) adversarial images and what they were made of."""
        smallest, largest = torch.aminmax(images)
        # numpy's minimum and maximum keep a NaN, which breaks every check; Python's would drop it
        self.reach = float(np.maximum(self.reach, float((images - pixels).abs_().max())))
        self.low, self.high = float(np.minimum(self.low, float(smallest))), float(np.maximum(self.high, float(largest)))


def attack_images(
    target: Target,
    attack: Attack,
    batches: Iterable[Images],
    eps: Sequence[float],
    *,
    steps: int = 10,
    seed: int = 0,
    done: Callable[[int], None] = lambda images: None,
) -> Outcomes:
    """Attack every batch at every eps (ascending).

    Args:
        batches: pixels in [0, 1], labels (None: the model's own predictions are attacked) and places in the set.
        done: told the number of images after each batch.

    Raises:
        UnitError: NaN or infinite logits, or no image at all.
    """
    kept: dict[str, list[Any]] = {name: [] for name in ("indices", "labels", "clean", "adversarial", "probe", "zero")}
    limits, place_of = [Limits() for _ in eps], {size: number for number, size in enumerate(eps)}
    count, own_labels = 0, False
    for pixels, labels, indices in _probed_apart(batches):
        pixels = pixels.to(target.device, torch.float32)
        goal = None if labels is None else labels.to(target.device)
        own_labels = goal is None
        place = (seed + indices[0]) % 2**31  # another random start for every batch, the same in every run
        # the first batch is attacked at eps 0 as well, in one go, so that clean predictions are of the same batch
        levels = list(eps) if count or 0.0 in eps else [0.0, *eps]
        attacked = attack.run(target, pixels, goal, levels, steps=steps, seed=place)
        predictions = []
        for level, images in zip(levels, attacked.images, strict=True):
            predictions.append(predict(target, images))
            if level in place_of:
                limits[place_of[level]].take(images, pixels)
        if not count:
            kept["probe"].append(predictions[levels.index(0.0)])
        kept["adversarial"].append(torch.stack(predictions[len(levels) - len(eps) :]))
        share = torch.full((len(pixels),), torch.nan) if attacked.zero_share is None else attacked.zero_share
        kept["indices"].append(torch.as_tensor(indices))
        kept["labels"].append(attacked.clean if goal is None else goal)
        kept["clean"].append(attacked.clean)
        kept["zero"].append(share)
        count += len(pixels)
        done(count)
    if not count:
        raise UnitError("no image was left to attack")
    joined = {name: torch.cat(parts, dim=-1).cpu().numpy() for name, parts in kept.items() if parts}
    probe_at_0 = joined["adversarial"][list(eps).index(0.0)] if 0.0 in eps else joined["probe"]
    return Outcomes(
        eps=np.asarray(eps, dtype=np.float64),
        indices=joined["indices"].astype(np.int64),
        labels=joined["labels"].astype(np.int64),
        clean=joined["clean"].astype(np.int64),
        adversarial=joined["adversarial"].astype(np.int64),
        reach=np.asarray([limit.reach for limit in limits]),
        low=np.asarray([limit.low for limit in limits]),
        high=np.asarray([limit.high for limit in limits]),
        probe=probe_at_0.astype(np.int64),
        zero_share=joined["zero"].astype(np.float64),
        own_labels=own_labels,
    )


def _probed_apart(batches: Iterable[Images]) -> Iterator[Images]:
    """The batches, the first one cut after PROBED images, so that the check at eps 0 costs no more than these."""
    for number, (pixels, labels, indices) in enumerate(batches):
        cuts = [slice(0, PROBED), slice(PROBED, None)] if number == 0 and len(pixels) > PROBED else [slice(None)]
        for cut in cuts:
            yield pixels[cut], None if labels is None else labels[cut], indices[cut]
