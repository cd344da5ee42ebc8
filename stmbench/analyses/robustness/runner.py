"""An attack over batches of images: what it did to each, and how far it went."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stmbench.analyses.robustness.attack_target import Target
from stmbench.analyses.robustness.attacks import Attack, predict
from stmbench.analyses.robustness.outcomes import Outcomes
from stmbench.errors import UnitError

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
