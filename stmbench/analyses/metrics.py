"""Metrics of several analyses: each is one object in every entry that has it."""

from __future__ import annotations

import dataclasses
from typing import Final

from stmbench.analyses.registry import Metric, Tracking

POINT: Final = 0.005  # half a percentage point
OF_QUALITY: Final = Tracking(smallest=POINT)


def percentage(name: str, title: str, *, tracked: bool = False) -> Metric:
    """A share that is shown in per cent, of which more is better."""
    return Metric(
        name=name,
        unit="1",
        title=title,
        shown_unit="%",
        factor=0.01,
        decimals=1,
        better="higher",
        tracking=OF_QUALITY if tracked else None,
    )


def share(name: str, title: str) -> Metric:
    """A share that is shown in per cent, of which more is neither better nor worse."""
    return dataclasses.replace(percentage(name, title), better="neither")


ACCURACY: Final = percentage("accuracy", "accuracy", tracked=True)
ACCURACY_TOP5: Final = percentage("accuracy_top5", "top-5 accuracy", tracked=True)
CONSISTENCY: Final = percentage("consistency", "consistency")
ACCURACY_ON_CORRECT: Final = percentage("accuracy_on_correct", "accuracy where clean is right")
ACCURACY_DIFFERENCE: Final = percentage("accuracy_difference", "accuracy, difference")
CONSISTENCY_DIFFERENCE: Final = percentage("consistency_difference", "consistency, difference")
MCNEMAR: Final = Metric(name="mcnemar_p", unit="1")
MCNEMAR_HOLM: Final = Metric(name="mcnemar_p_holm", unit="1")
NLL: Final = Metric(
    name="nll", unit="1", title="negative log-likelihood", shown_unit="nats", better="lower", tracking=OF_QUALITY
)
