"""Findings from measured effects: corrected for multiple testing, adjudicated, sorted; and the texts they share."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from stmbench.measure.effects import ALPHA, Effect, decide_verdict, minimum_detectable_effect
from stmbench.measure.statistics import MIN_ROUNDS, holm
from stmbench.tables.comparison_result import VERDICTS, Finding, Kind

COST_MARGIN: Final = 0.001  # relative change of a counted quantity that matters


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """One metric of one model at base and head, before adjudication.

    Args:
        effect: on a logarithmic scale for ratios; None if there is none, and `reason` says why.
        margin: on the reader's scale: 0.03 is 3 % of a ratio, 0.005 half a percentage point of accuracy.
        looks: the number of interim looks at the effect.
        claims_same: whether this kind of measurement can show the absence of a change.
        failed: which side failed: 'base', 'head' or 'both'.
    """

    model: str
    metric: str
    conditions: str = ""
    unit: str = "1"
    kind: Kind = "ratio"
    lower_is_better: bool = True
    has_direction: bool = True
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
        """Whether chance is involved; exact counts are not tests."""
        return self.effect is not None and self.effect.error > 0 and not math.isnan(self.effect.estimate)

    @property
    def p_value(self) -> float:
        """Of no change, corrected for the interim looks."""
        return min(1.0, self.looks * self.effect.p_value) if self.effect is not None else 1.0

    def on_scale(self, margin: float) -> float:
        """A margin on the effect's scale."""
        return math.log1p(margin) if self.kind == "ratio" else margin

    def shown(self, effect: float) -> float:
        """An effect on the reader's scale: a ratio, or a difference."""
        return math.exp(effect) if self.kind == "ratio" else effect


def adjudicate(measured: Sequence[Measured], *, alpha: float = ALPHA) -> tuple[Finding, ...]:
    """A verdict for each effect, after Holm's correction over all that are tests; `alpha`: of all claims together.

    Returns:
        The findings, sorted by verdict, the worst first; findings with the same verdict keep their order.
    """
    tests = [item for item in measured if item.is_test]
    corrected = dict(zip(map(id, tests), holm([item.p_value for item in tests]), strict=True))
    findings = [_finding(item, corrected.get(id(item)), max(1, len(tests)), alpha) for item in measured]
    return tuple(sorted(findings, key=lambda finding: VERDICTS.index(finding.verdict)))


def _finding(item: Measured, p_corrected: float | None, tests: int, alpha: float) -> Finding:
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
    verdict = decide_verdict(effect, p_value, margin=margin, lower_is_better=item.lower_is_better, alpha=alpha)
    if verdict == "same" and not item.claims_same:
        verdict = "inconclusive"
    low, high = (item.shown(end) for end in effect.interval)
    smallest = item.shown(minimum_detectable_effect(effect.error, margin=margin, tests=tests * item.looks, alpha=alpha))
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
        return f"{effect.count} rounds, fewer than {MIN_ROUNDS}"
    beyond = abs(effect.estimate) > item.on_scale(item.margin)
    if beyond:
        return "the change may be chance"
    if not item.claims_same:
        return f"below the {item.margin:.0%} that two separate runs can resolve"
    return "the interval exceeds the margin"


# fields that a finding copies
_COMMON = (
    *("model", "metric", "conditions", "unit", "kind", "lower_is_better", "has_direction"),
    *("base", "head", "margin", "rounds", "dropped", "seconds"),
)


def exact_count(
    model: str, metric: str, base: float, head: float, *, unit: str, conditions: str, margin: float = COST_MARGIN
) -> Measured:
    """A quantity that is counted, not measured (parameters, MACs): any change beyond the margin is certain."""
    effect = Effect(estimate=math.log(head / base), error=0.0, count=1) if base > 0 and head > 0 else None
    return Measured(
        model=model,
        metric=metric,
        unit=unit,
        conditions=conditions,
        base=base,
        head=head,
        effect=effect,
        margin=margin,
        reason=None if effect else "no ratio: one of the counts is 0",
    )


def confirmed(findings: Sequence[Finding], again: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings after suspected regressions were measured again: only what is worse both times stays worse.

    A confirmed one reports its second measurement, which was not selected for being large.
    """
    second = {(item.model, item.metric): item for item in again}
    settled = []
    for first in findings:
        other = second.get((first.model, first.metric))
        if other is None or first.verdict != "worse":
            settled.append(first)
        elif other.verdict == "worse":
            settled.append(dataclasses.replace(other, confirmed=True))
        elif other.verdict == "failed":
            settled.append(other)
        else:
            reason = f"{first.effect:.3f} at first, {other.effect or math.nan:.3f} when measured again"
            settled.append(dataclasses.replace(other, verdict="inconclusive", confirmed=False, reason=reason))
    return tuple(sorted(settled, key=lambda item: VERDICTS.index(item.verdict)))


def conditions_text(conditions: Mapping[str, Any], *, batch: str | None = None) -> str:
    """The conditions that distinguish rows of one model, as text."""
    parts = []
    definition = str(conditions.get("definition") or "")
    analysis = str(conditions.get("analysis") or "")
    protocol = re.sub(r"\.v\d+$", "", definition).removeprefix("stmbench.")
    if protocol and protocol not in (analysis, "profile"):
        parts.append(f"{analysis} {protocol}" if analysis and not protocol.startswith(analysis) else protocol)
    elif analysis and analysis != "profile":
        parts.append(analysis)
    if conditions.get("stage") is not None:
        parts.append(f"stage {conditions['stage']}")
    if conditions.get("condition") is not None:
        parts.append(str(conditions["condition"]))
    if conditions.get("level") is not None:
        parts.append(f"at {conditions['level']:.4g}")
    if batch is not None:
        parts.append(f"batch {batch}")
    if conditions.get("resolution") is not None:
        parts.append(f"{conditions['resolution']} px")
    parts += [str(conditions[name]) for name in ("dtype", "device") if conditions.get(name) is not None]
    if conditions.get("compile"):
        parts.append("compiled")
    return ", ".join(parts)


def machine_text(machine: Mapping[str, Any]) -> str:
    """A machine's facts on one line."""
    words = [str(machine[name]) for name in ("cpu", "system") if machine.get(name)]
    words += [f"{machine['logical_cores']} logical cores"] if machine.get("logical_cores") else []
    return ", ".join([*words, *map(str, machine.get("gpus") or [])])
