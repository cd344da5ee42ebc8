"""What a study leaves out so that it ends in time: the cheapest loss of knowledge first."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from stmbench.experiments.tasks import Task
from stmbench.studies.design import ROUND_TIME, Effort

CERTAIN: Final = ("eval", "profile", "erf", "translation", "robustness")  # what the verdict needs
FULL: Final = (*CERTAIN, "rotation", "scale", "affinity", "frequency", "corruption")
ON_EVERY_SEED: Final = ("eval", "erf", "translation", "robustness", "rotation", "scale")
SHARE: Final = 0.8  # of the budget that is planned: estimates are rough
REPORT_S: Final = 45.0  # figures and pages


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is done, what of it is left out, in words, and about how many seconds it takes."""

    effort: Effort
    left_out: tuple[str, ...]
    seconds: float
    fits: bool


def efforts(seeds: int, of_plugins: Sequence[str] = ()) -> Iterator[tuple[Effort, str]]:
    """Efforts from the whole study down, each with what it leaves out of the one before it."""
    effort = Effort(seeds=seeds, analyses=(*FULL, *of_plugins), on_every_seed=ON_EVERY_SEED)
    yield effort, ""
    for name in ("corruption", "frequency"):
        effort = _without(effort, name)
        yield effort, name
    if seeds > 1:
        effort = dataclasses.replace(effort, on_every_seed=("eval", "erf", "translation", "robustness"))
        yield effort, "rotation and scale of other trainings than the first"
    for name in ("affinity", "scale", "rotation"):
        effort = _without(effort, name)
        yield effort, name
    effort = dataclasses.replace(effort, round_time=ROUND_TIME / 2)
    yield effort, f"half of the {ROUND_TIME:g} seconds of timing"
    for fewer in range(seeds - 1, 0, -1):
        effort = dataclasses.replace(effort, seeds=fewer)
        yield effort, f"seed {fewer}"
    for share in (0.5, 0.25):
        effort = dataclasses.replace(effort, epochs=share)
        yield effort, f"{1 - share:.0%} of the epochs"


def fit(seeds: int, budget: float | None, seconds: Callable[[Effort], float], of_plugins: Sequence[str] = ()) -> Plan:
    """The largest effort that ends in time, or the smallest one.

    Args:
        budget: seconds; None: everything.
        seconds: an estimate of how long an effort takes.
        of_plugins: analyses that were asked for; none of them is left out.
    """
    left_out: list[str] = []
    for effort, without in efforts(seeds, of_plugins):
        left_out += [without] if without else []
        needed = seconds(effort) + REPORT_S
        if budget is None or needed <= SHARE * budget:
            return Plan(effort=effort, left_out=_in_words(left_out), seconds=needed, fits=True)
    return Plan(effort=effort, left_out=_in_words(left_out), seconds=needed, fits=False)


def chosen(tasks: list[Task], effort: Effort) -> list[Task]:
    """The tasks of an effort, the most important first: the profile, which needs no training but the whole machine; the
    first training of every model and all that is measured of it; then the second one's.

    A step that is not for every seed is left out of the others.
    """
    kept = [task for task in tasks if task.step is None or _seed(task) == 0 or task.step.name in effort.on_every_seed]
    return sorted(
        kept, key=lambda task: (not task.alone, _seed(task))
    )  # stable: within a seed trainings come first, then steps in their order


def _seed(task: Task) -> int:
    """Which training it belongs to; a profile, whose values do not depend on weights, belongs to the first."""
    return task.runs[0].seed if task.runs else 0


def _without(effort: Effort, name: str) -> Effort:
    return dataclasses.replace(effort, analyses=tuple(item for item in effort.analyses if item != name))


def _in_words(left_out: list[str]) -> tuple[str, ...]:
    """Seeds together, and of shares of epochs the last."""
    seeds = [text.removeprefix("seed ") for text in left_out if text.startswith("seed ")]
    others = [text for text in left_out if not text.startswith("seed ")]
    epochs = [text for text in others if text.endswith("of the epochs")]
    words = [text for text in others if text not in epochs[:-1]]
    return (*words, *([f"training seeds {', '.join(sorted(seeds))}"] if seeds else []))
