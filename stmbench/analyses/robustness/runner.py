"""An attack over batches of images: what it did to each, how far it went, and the checks that a sound attack passes.

Most checks are those that Carlini et al. (2019, "On Evaluating Adversarial Robustness") ask for. A broken one does not
stop the run: its rows name the check.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stmbench.analyses.robustness.attacks import Attack, predict, words
from stmbench.analyses.robustness.fgsm import Target
from stmbench.analyses.robustness.outcomes import Outcomes
from stmbench.errors import UnitError
from stmbench.measure.effects import mcnemar

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


# x + eps and (x + eps) - x are rounded in float32: half a unit in the last place of 1 each, and as much for eps itself
TOLERANCE: Final = 2.0**-22
CHECKS: Final = (
    "eps0_is_clean",
    "pixels_in_range",
    "within_eps",
    "gradient_not_zero",
    "falls_with_eps",
    "fgsm_not_below",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """One check at one eps (None: of the attack as a whole); `reason` says what is wrong, None where it passes."""

    check: str
    eps: float | None
    reason: str | None = None

    @property
    def passes(self) -> bool:
        """Whether nothing is wrong."""
        return self.reason is None


def verdicts(outcomes: Outcomes) -> Iterator[Verdict]:
    """The checks that one attack on one model can be put to by itself."""
    differ = int((outcomes.probe != outcomes.clean[: len(outcomes.probe)]).sum())
    yield Verdict(
        check="eps0_is_clean",
        eps=None,
        reason=f"at eps 0 the prediction of {differ} of {len(outcomes.probe)} images differs from the clean one"
        if differ
        else None,
    )
    for eps, reach, low, high in zip(outcomes.eps, outcomes.reach, outcomes.low, outcomes.high, strict=True):
        outside = not (low >= 0 and high <= 1)
        yield Verdict(
            check="pixels_in_range",
            eps=float(eps),
            reason=f"adversarial values lie from {low:.6g} to {high:.6g}, outside [0, 1]" if outside else None,
        )
        yield Verdict(
            check="within_eps",
            eps=float(eps),
            reason=f"a value moved by {reach:.8g}, more than eps {eps:.8g}" if not reach <= eps + TOLERANCE else None,
        )
    known = outcomes.zero_share[np.isfinite(outcomes.zero_share)]
    if known.size:
        flat = int((known == 1).sum())
        yield Verdict(
            check="gradient_not_zero",
            eps=None,
            reason=f"the gradient of {flat} of {known.size} images is 0 everywhere: no eps changes them"
            if flat
            else None,
        )
    levels = outcomes.levels()
    for (below, before), (eps, after) in itertools.pairwise(levels):
        text = f"{outcomes.metric} rises from {before.mean():.4g} at eps {words(below)} to {after.mean():.4g}"
        rises = int(after.sum()) > int(before.sum())
        yield Verdict(check="falls_with_eps", eps=eps, reason=f"{text} ({_chance(after, before)})" if rises else None)


def against_fgsm(outcomes: Outcomes, fgsm: Outcomes, title: str) -> Iterator[Verdict]:
    """FGSM's accuracy is at least that of an attack that iterates, at every eps of both, on the images of both."""
    theirs, mine = dict(fgsm.levels()), dict(outcomes.levels())
    for eps in sorted(set(theirs) & set(mine) - {0.0}):
        weak, strong = common(fgsm.indices, theirs[eps], outcomes.indices, mine[eps])
        text = f"{outcomes.metric} under {title} is {strong.mean():.4g}, above {weak.mean():.4g} under FGSM"
        broken = int(strong.sum()) > int(weak.sum())
        yield Verdict(check="fgsm_not_below", eps=eps, reason=f"{text} ({_chance(strong, weak)})" if broken else None)


def common(
    indices_a: NDArray[np.int64], a: NDArray[np.bool_], indices_b: NDArray[np.int64], b: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Two sets of hits on the images that both have, in the same order: a corrupt image may be missing from one."""
    _, in_a, in_b = np.intersect1d(indices_a, indices_b, return_indices=True)
    return a[in_a], b[in_b]


def broken_at(found: list[Verdict], eps: float | None = None) -> Mapping[str, str]:
    """The columns of a row at `eps` that stands on an attack which breaks a check: status and reason; or none."""
    reasons = [verdict.reason for verdict in found if verdict.reason and verdict.eps in (None, eps)]
    return {"status": "suspect", "reason": "; ".join(reasons)} if reasons else {}


def _chance(more: NDArray[np.bool_], fewer: NDArray[np.bool_]) -> str:
    test = mcnemar(more, fewer)
    return f"{test.only_first} images gained, {test.only_second} lost, p = {test.p:.2g}"
