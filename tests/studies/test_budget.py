"""What a study leaves out: the cheapest loss first, and never what the verdict needs."""

from __future__ import annotations

import dataclasses

import pytest

from stmbench.studies.budget import CERTAIN, FULL, REPORT_S, SHARE, chosen, efforts, fit
from stmbench.studies.design import Effort, design
from stmbench.studies.options import StudyOptions, seconds_of

# of a made-up machine, in seconds
COST = {"eval": 1, "profile": 60, "erf": 2, "translation": 10, "robustness": 8, "rotation": 10, "scale": 10,
        "affinity": 20, "frequency": 80, "corruption": 100}  # fmt: skip


def _seconds(effort: Effort) -> float:
    training = 100 * effort.seeds * effort.epochs
    profile = COST["profile"] * effort.round_time / 30
    return training + profile + sum(
        COST[name] * (effort.seeds if name in effort.on_every_seed else 1)
        for name in effort.analyses if name != "profile"
    )  # fmt: skip


def test_without_a_budget_nothing_is_left_out() -> None:
    plan = fit(3, None, _seconds)
    assert (plan.effort.seeds, plan.effort.analyses, plan.left_out) == (3, FULL, ())


@pytest.mark.parametrize("budget", [300, 420, 600, 700, 900, 1500])
def test_what_is_planned_fits(budget: float) -> None:
    plan = fit(3, budget, _seconds)
    assert plan.fits
    assert plan.seconds == _seconds(plan.effort) + REPORT_S <= SHARE * budget
    assert {*CERTAIN} <= {*plan.effort.analyses}


def test_more_time_never_means_less_knowledge() -> None:
    plans = [fit(3, budget, _seconds) for budget in range(200, 1600, 50)]
    assert [len(plan.left_out) for plan in plans] == sorted((len(plan.left_out) for plan in plans), reverse=True)


def test_each_effort_is_cheaper_than_the_one_before() -> None:
    costs = [_seconds(effort) for effort, _ in efforts(3)]
    assert costs == sorted(costs, reverse=True)
    assert len({*costs}) == len(costs)


def test_an_analysis_of_a_plugin_is_never_left_out() -> None:
    for effort, _ in efforts(3, ("jitter",)):
        assert effort.analyses[-1] == "jitter"


def test_seeds_left_out_are_said_once_and_epochs_by_their_last_share() -> None:
    plan = fit(3, 130, _seconds)
    assert not plan.fits
    assert plan.left_out[-1] == "training seeds 1, 2"
    assert [text for text in plan.left_out if "epochs" in text] == ["75% of the epochs"]


def test_the_first_training_of_every_model_is_looked_at_before_the_second_begins() -> None:
    from stmbench.experiments.planning import Resources, plan

    made = design(StudyOptions(mixer="pooling", baselines=("dw_conv",), seeds=2))
    effort = dataclasses.replace(fit(2, None, _seconds).effort, on_every_seed=("eval",))
    tasks = chosen(plan(made.experiment(effort), Resources()), effort)
    seeds = [task.runs[0].seed if task.runs else 0 for task in tasks]
    assert seeds == sorted(seeds)
    assert tasks[0].title == "profile", "it would wait for all others, and find no time"
    assert {task.title for task in tasks if task.runs and task.runs[0].seed == 1} == {"train", "eval"}
    for place, task in enumerate(tasks):  # whatever a task needs comes before it
        assert {*task.needs} <= {before.name for before in tasks[:place]}


@pytest.mark.parametrize(
    ("text", "seconds"), [("20m", 1200), ("90s", 90), ("1h30m", 5400), ("1.5h", 5400), ("45", 45), (" 2 m ", 120)]
)
def test_times(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "m", "-5", "0", "0m", "10x", "5m3", "m5", "1e3"])
def test_what_is_no_time_is_refused(text: str) -> None:
    from stmbench.errors import ConfigError

    with pytest.raises(ConfigError, match="--budget"):
        seconds_of(text)
