"""A deliberately broken mixer fails the check that is meant for it, and no other; a sound one passes all."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from stmbench.measure.counting import count
from stmbench.mixers.base import MIXERS, ZeroGradient
from stmbench.mixers.conformance import CHECKS, MixerUnderTest, conform, gradients
from tests.conformance import broken, broken_affinity, broken_gradients, broken_merge

BROKEN = {**broken.BROKEN, **broken_affinity.BROKEN, **broken_merge.BROKEN}


def _macs(module: nn.Module, size: tuple[int, int, int]) -> int:
    return count(module, size).macs


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_mixer_fails_the_check_that_is_meant(case: str) -> None:
    outcomes = conform(BROKEN[case], count=_macs)
    failed = {outcome.check: outcome for outcome in outcomes if outcome.status == "failed"}
    meant = case.split(" ")[0]
    assert list(failed) == [meant], {name: outcome.found for name, outcome in failed.items()}
    assert failed[meant].found
    assert failed[meant].remedy == CHECKS[meant].remedy


def test_every_check_has_a_mixer_that_breaks_it() -> None:
    assert {case.split(" ")[0] for case in BROKEN} == set(CHECKS)


def test_a_sound_mixer_passes_everything() -> None:
    outcomes = conform(broken.entry(broken.Sound), count=_macs)
    left = [(o.check, o.status, o.found) for o in outcomes if o.status != "passed"]
    assert left == [
        ("merge", "skipped", "there is nothing to merge"),
        ("affinity", "skipped", "the mixer offers no affinity"),
        ("affinity_forms", "skipped", "needs affinity to pass"),
    ]


class TooCoarse(broken.Sound):
    """A reference that is not the fast path, by more than rounding in float32."""

    def reference(self, x: torch.Tensor) -> torch.Tensor:
        return broken.Sound.forward(self, x) * (1 + 1e-3)


@pytest.mark.parametrize(
    ("module", "facts", "meant"),
    [
        (broken.Sound, {"any_size": False}, []),
        (broken.Sound, {"dtypes": ("float32",)}, []),
        (broken.MadeForTheDesignSize, {"any_size": False}, []),
        (broken.NoKernelForDouble, {"dtypes": ("float32", "bfloat16")}, []),
        (broken.LosesARow, {"any_size": False}, ["shape"]),
        (broken.WrongMacs, {"any_size": False}, ["macs"]),
        (broken.WrongReference, {"any_size": False}, ["reference"]),
        (broken.NanInBfloat16, {"dtypes": ("float64", "float32", "bfloat16")}, ["bfloat16"]),
        (broken.NanInBfloat16, {"dtypes": ("float64", "float32")}, []),
        (TooCoarse, {"dtypes": ("float32",)}, ["reference"]),
        (broken.LeaksAcrossTheBatch, {"dtypes": ("float32",)}, ["batch_independent"]),
        (broken_gradients.DeadThird, {"dtypes": ("float32",)}, ["gradients"]),
        (broken.ForgetsInACopy, {"dtypes": ("float32",), "any_size": False}, ["copies"]),
    ],
)
def test_what_a_mixer_promises_within_its_limits_is_checked(
    module: type[nn.Module], facts: dict[str, Any], meant: list[str]
) -> None:
    outcomes = conform(broken.entry(module, **facts), count=_macs)
    assert [outcome.check for outcome in outcomes if outcome.status == "failed"] == meant
    skipped = {outcome.check for outcome in outcomes if outcome.status == "skipped"}
    assert ("any_size" in skipped) == (facts.get("any_size") is False)
    if not meant:
        assert {"macs", "reference", "gradients", "copies"}.isdisjoint(skipped)


def test_gradients_are_looked_at_on_the_design_map() -> None:
    outcomes = conform(broken.entry(broken_gradients.TableOfTheDesignSize))
    assert [(o.check, o.found) for o in outcomes if o.status == "failed"] == []


@pytest.mark.parametrize(
    ("module", "found"),
    [
        (broken_gradients.DeadParameter, "32 of 32 elements of unused get no gradient (stage 0): all of it"),
        (broken_gradients.DeadThird, "1 of 33 elements of gain get no gradient (stage 0): [32]"),
    ],
)
def test_dead_elements_are_named(module: type[nn.Module], found: str) -> None:
    outcomes = {outcome.check: outcome for outcome in conform(broken.entry(module))}
    assert outcomes["gradients"].found == found


@pytest.mark.parametrize(
    ("module", "proposal"),
    [
        (
            broken_gradients.DeadParameter,
            'zero_gradient=(ZeroGradient(parameter="unused", part="all of it", reason="...", whole=True),),',
        ),
        (
            broken_gradients.DeadThird,
            'zero_gradient=(ZeroGradient(parameter="gain", part="[32] of 33", reason="..."),),',
        ),
    ],
)
def test_the_declaration_that_is_missing_is_proposed_and_helps(module: type[nn.Module], proposal: str) -> None:
    found = {outcome.check: outcome for outcome in conform(broken.entry(module))}["gradients"]
    assert found.proposal == proposal
    pasted = eval(f"dict({proposal})", {"ZeroGradient": ZeroGradient})
    assert [o.found for o in conform(broken.entry(module, **pasted)) if o.status == "failed"] == []


def test_dead_rows_of_a_table_are_named_with_their_axes() -> None:
    mask = torch.zeros(4, 3, 2, dtype=torch.bool)
    mask[0, 1], mask[3, 2] = True, True
    assert gradients.elements(mask) == "[0, 1, :], [3, 2, :]"


@pytest.mark.parametrize(
    ("dead", "said"),
    [
        ([[0, 0], [0, 1], [0, 2]], "[0]"),
        ([[1, 0], [1, 1], [1, 2], [2, 0], [2, 1], [2, 2]], "[1:3]"),
        ([[0, 1], [3, 2]], "[0, 1], [3, 2]"),
        ([[0, 1], [1, 1], [2, 1], [3, 1], [3, 2]], "[0, 1], [1, 1], [2, 1] and 2 more"),
    ],
)
def test_places_are_slices_or_single_ones(dead: list[list[int]], said: str) -> None:
    mask = torch.zeros(4, 3, dtype=torch.bool)
    for row, column in dead:
        mask[row, column] = True
    assert gradients.elements(mask) == said


def test_a_sound_mixer_with_an_affinity_passes_everything() -> None:
    outcomes = conform(broken.entry(broken_affinity.Weighed), count=_macs)
    assert [o.check for o in outcomes if o.status != "passed"] == ["merge"]


def test_a_sound_mixer_that_merges_passes_it() -> None:
    outcomes = {outcome.check: outcome for outcome in conform(broken.entry(broken_merge.Merging), count=_macs)}
    assert outcomes["merge"].status == "passed"
    assert [o.check for o in outcomes.values() if o.status == "failed"] == []


def test_without_a_counter_the_formula_is_not_compared() -> None:
    outcomes = {outcome.check: outcome for outcome in conform(BROKEN["macs"])}
    assert outcomes["macs"].status == "skipped"
    assert outcomes["macs"].found == "no counter was given"


def test_a_declared_dead_parameter_passes() -> None:
    declared = ZeroGradient(parameter="unused", part="all", reason="kept for old weights", whole=True)
    entry = dataclasses.replace(BROKEN["gradients"], zero_gradient=(declared,))
    assert [o.check for o in conform(entry) if o.status == "failed"] == []


def test_what_depends_on_a_failed_check_is_skipped_and_says_so() -> None:
    outcomes = {outcome.check: outcome for outcome in conform(BROKEN["deterministic"])}
    assert outcomes["batch_independent"].status == "skipped"
    assert outcomes["batch_independent"].found == "needs deterministic to pass"


def test_the_random_state_is_left_as_it_was() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    conform(broken.entry(broken.Sound))
    assert torch.equal(torch.get_rng_state(), before)


def test_affinities_are_compared_with_gradients_and_nothing_kept_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan's affinity would keep 9 GB for a backward pass that never comes."""
    tried: list[bool] = []

    def compared(*_: object) -> tuple[torch.Tensor, torch.Tensor]:
        y = torch.ones(3, requires_grad=True).exp()
        tried.append(y.requires_grad)
        if y.requires_grad:
            with pytest.raises(TypeError, match="unpack_hook"):
                y.sum().backward()
        return y, y

    monkeypatch.setattr("stmbench.mixers.conformance.affinity._identity", compared)
    CHECKS["affinity"].function(MixerUnderTest(entry=MIXERS.get("self_attn")))
    assert set(tried) == {False, True}
