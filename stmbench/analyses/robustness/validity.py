"""The panel of checks that a sound attack passes. A broken one does not stop the run: its rows say so.

Most are those that Carlini et al. (2019, "On Evaluating Adversarial Robustness") ask for.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stmbench.analyses.robustness.config import words
from stmbench.analyses.robustness.runner import Outcomes
from stmbench.measure.differences import mcnemar

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
