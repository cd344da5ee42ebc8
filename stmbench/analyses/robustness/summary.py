"""What the outcomes say: the summary rows of one model, and of models against each other, without common columns."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from stmbench.analyses.robustness.attacks import ATTACKS
from stmbench.analyses.robustness.outcomes import AT_ZERO, Outcomes
from stmbench.analyses.robustness.runner import Verdict, against_fgsm, broken_at, common, verdicts
from stmbench.measure.effects import McNemar, mcnemar
from stmbench.measure.proportions import paired_proportion_difference, proportion
from stmbench.measure.statistics import Interval, holm

ITERATING = ("pgd", "apgd")  # attacks that must not find less than FGSM does


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
    """One summary row to be: the attack, the metric, its value with interval, other columns."""

    attack: str
    metric: str
    interval: Interval
    model: str | None = None
    columns: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def panel(found: Mapping[str, Outcomes]) -> dict[str, list[Verdict]]:
    """attack -> verdicts, for all attacks on one model."""
    panels = {name: list(verdicts(outcomes)) for name, outcomes in found.items()}
    weak = next((found[name] for name in ("fgsm", "torchattacks_fgsm") if name in found), None)
    for name in ITERATING:
        if weak is not None and name in found:
            panels[name] += against_fgsm(found[name], weak, ATTACKS[name].title)
    return panels


def model_summaries(found: Mapping[str, Outcomes], panels: Mapping[str, list[Verdict]]) -> Iterator[Summary]:
    """The rows of one model: accuracy or consistency at every eps, the gradient's zeros, and the panel.

    Args:
        found: attack -> what it did.
        panels: attack -> what `panel` says of it.
    """
    for attack, outcomes in found.items():
        checks, clean = panels[attack], outcomes.clean_hits
        for eps, hits in outcomes.levels():
            columns = {"level": eps, **broken_at(checks, eps)}
            known = eps == 0 and outcomes.own_labels  # 1 by definition
            found_share = dataclasses.replace(exact(1.0), count=len(hits)) if known else proportion(hits)
            yield Summary(attack=attack, metric=outcomes.metric, interval=found_share, columns=columns)
            if not outcomes.own_labels and clean.any():
                survived = proportion(hits[clean])
                yield Summary(attack=attack, metric="accuracy_on_correct", interval=survived, columns=columns)
        if (at_zero := outcomes.attacked_at_zero()) is not None:
            columns = {"level": 0.0, "condition": AT_ZERO, **broken_at(checks, 0.0)}
            yield Summary(attack=attack, metric=outcomes.metric, interval=proportion(at_zero), columns=columns)
        shown = outcomes.zero_share[np.isfinite(outcomes.zero_share)]
        if shown.size:
            zeros = dataclasses.replace(exact(float(shown.mean())), count=shown.size)
            yield Summary(attack=attack, metric="zero_gradient_share", interval=zeros)
        for verdict in checks:
            wrong = {} if verdict.passes else {"status": "suspect", "reason": verdict.reason}
            columns = {"condition": verdict.check, "level": verdict.eps, **wrong}
            yield Summary(attack=attack, metric="validity", interval=exact(float(verdict.passes)), columns=columns)
    if "fgsm" in found and not any(name in found for name in ITERATING):
        reason = "no attack that iterates was run; add it with --attacks fgsm,pgd"
        columns = {"condition": "fgsm_not_below", "status": "skipped", "reason": reason}
        yield Summary(attack="fgsm", metric="validity", interval=exact(math.nan), columns=columns)


def comparison_summaries(attack: str, found: Mapping[str, Outcomes]) -> Iterator[Summary]:
    """The rows of models against each other under one attack: each pair once, the earlier model as the baseline.

    Args:
        found: model -> what the attack did to it.
    """
    levels = {model: dict(outcomes.levels()) for model, outcomes in found.items()}
    for eps in sorted(set.intersection(*(set(of_model) for of_model in levels.values()))):
        if eps == 0 and any(outcomes.own_labels for outcomes in found.values()):
            continue  # every model agrees with itself
        tests: dict[tuple[str, str], McNemar] = {}
        for baseline, model in itertools.combinations(found, 2):
            mine, theirs = common(
                found[model].indices, levels[model][eps], found[baseline].indices, levels[baseline][eps]
            )
            tests[model, baseline] = mcnemar(mine, theirs)
            columns = {"baseline": baseline, "level": eps}
            metric = f"{found[model].metric}_difference"
            paired = paired_proportion_difference(mine, theirs)
            yield Summary(attack=attack, metric=metric, interval=paired, model=model, columns=columns)
        adjusted = holm([test.p for test in tests.values()])
        for ((model, baseline), test), holm_p in zip(tests.items(), adjusted, strict=True):
            columns = {"baseline": baseline, "level": eps, "condition": "exact" if test.exact else "chi_square"}
            for metric, p in (("mcnemar_p", test.p), ("mcnemar_p_holm", holm_p)):
                value = dataclasses.replace(exact(p), count=test.discordant)
                yield Summary(attack=attack, metric=metric, interval=value, model=model, columns=columns)


def exact(value: float) -> Interval:
    """A value without an interval."""
    return Interval(estimate=value, low=math.nan, high=math.nan, count=1)
