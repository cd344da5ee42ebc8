"""Measured effects become findings: corrected for their number, judged, sorted."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from stmbench.measure.statistics import MIN_ROUNDS, holm
from stmbench.measure.verdicts import Effect, decide_verdict, minimum_detectable_effect
from stmbench.tables.comparison_result import VERDICTS, Finding, Kind


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """One metric of one model at base and head, before it is judged.

    Args:
        effect: on a logarithmic scale for ratios; None where there is none, and then `reason` says why.
        margin: as the reader says it: 0.03 is 3 % of a ratio, 0.005 half a point of an accuracy.
        looks: how often sampling looked at the effect before it stopped.
        claims_same: whether this kind of measurement can show that nothing changed.
        failed: which side failed: 'base', 'head' or 'both'.
    """

    model: str
    metric: str
    conditions: str = ""
    unit: str = "1"
    kind: Kind = "ratio"
    lower_is_better: bool = True
    base: float | None = None
    head: float | None = None
    effect: Effect | None = None
    margin: float = 0.0
    looks: int = 1
    claims_same: bool = True
    rounds: int | None = None
    dropped: int | None = None
    seconds: float | None = None
    failed: str | None = None
    reason: str | None = None

    @property
    def is_test(self) -> bool:
        """Whether chance has a part in it; what is counted exactly does not count among the tests."""
        return self.effect is not None and self.effect.error > 0 and not math.isnan(self.effect.estimate)

    @property
    def p_value(self) -> float:
        """Of no change, corrected for the looks."""
        return min(1.0, self.looks * self.effect.p_value) if self.effect is not None else 1.0

    def on_scale(self, margin: float) -> float:
        """A margin on the effect's scale."""
        return math.log1p(margin) if self.kind == "ratio" else margin

    def shown(self, effect: float) -> float:
        """An effect as the reader sees it: a ratio, or a difference."""
        return math.exp(effect) if self.kind == "ratio" else effect


def settle(measured: Sequence[Measured]) -> tuple[Finding, ...]:
    """The findings: Holm's correction over all that chance has a part in, then a verdict each.

    Returns:
        Sorted by verdict, the worst first; of one verdict in the order given.
    """
    tests = [item for item in measured if item.is_test]
    corrected = dict(zip(map(id, tests), holm([item.p_value for item in tests]), strict=True))
    found = [_finding(item, corrected.get(id(item)), max(1, len(tests))) for item in measured]
    return tuple(sorted(found, key=lambda finding: VERDICTS.index(finding.verdict)))


def _finding(item: Measured, p_corrected: float | None, tests: int) -> Finding:
    plain = Finding(
        verdict="failed" if item.failed else "inconclusive",
        is_regression=item.failed == "head",
        reason=item.reason or "no samples",
        **{name: getattr(item, name) for name in _COMMON},
    )
    effect = item.effect
    if item.failed or effect is None or math.isnan(effect.estimate):
        return plain
    margin = item.on_scale(item.margin)
    p_value = effect.p_value if p_corrected is None else p_corrected
    verdict = decide_verdict(effect, p_value, margin=margin, lower_is_better=item.lower_is_better)
    if verdict == "same" and not item.claims_same:
        verdict = "inconclusive"
    low, high = (item.shown(end) for end in effect.interval)
    smallest = item.shown(minimum_detectable_effect(effect.error, margin=margin, tests=tests * item.looks))
    known = item.is_test and math.isfinite(effect.error)
    return dataclasses.replace(
        plain,
        verdict=verdict,
        effect=item.shown(effect.estimate),
        low=low if known else None,
        high=high if known else None,
        detectable=(smallest - 1 if item.kind == "ratio" else smallest) if known else None,
        p_value=item.p_value if known else None,
        p_corrected=p_corrected if known else None,
        reason=item.reason or (_why(item, effect) if verdict == "inconclusive" else None),
    )


def _why(item: Measured, effect: Effect) -> str:
    if math.isinf(effect.error):
        return f"{effect.count} rounds; {MIN_ROUNDS} are the fewest that say anything"
    beyond = abs(effect.estimate) > item.on_scale(item.margin)
    if beyond:
        return "the change may be chance"
    if not item.claims_same:
        return f"below the {item.margin:.0%} that two runs can tell apart"
    return "the interval reaches beyond the margin"


# what a finding takes over as it is
_COMMON = (
    *("model", "metric", "conditions", "unit", "kind", "lower_is_better"),
    *("base", "head", "margin", "rounds", "dropped", "seconds"),
)
