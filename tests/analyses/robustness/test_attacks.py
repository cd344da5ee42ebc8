"""Attacks: eps as text; torchattacks behind our functions: seeded, quiet, within eps, freed, named if missing."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable

import pytest
import torch

from stmbench.analyses.robustness.attacks import (
    ATTACKS,
    PAPER,
    attack_named,
    eps_of,
    ordered,
    pgd,
    predict,
    torchattacks_version,
    words,
)
from stmbench.analyses.robustness.fgsm import Target
from stmbench.analyses.robustness.runner import TOLERANCE
from stmbench.errors import ConfigError, InputError, UnknownNameError
from tests.analyses.robustness.networks import Convolutions, normalise

EPS = 8 / 255
LIBRARY = {name: attack.call for name, attack in ATTACKS.items() if attack.owner == "torchattacks" and attack.call}
NAMES, CALLS = list(LIBRARY), list(LIBRARY.values())


@pytest.fixture
def _installed() -> None:
    pytest.importorskip("torchattacks")


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.rand(12, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize("call", CALLS, ids=NAMES)
def test_a_seed_fixes_the_images_and_nothing_else_changes(
    call: Callable[..., torch.Tensor], pixels: torch.Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    target = Target(Convolutions(), normalise)
    labels, before = predict(target, pixels), pixels.clone()
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    first = call(target, pixels, labels, eps=EPS, steps=5, seed=3)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(8)
    assert torch.equal(first, call(target, pixels, labels, eps=EPS, steps=5, seed=3))
    assert torch.equal(pixels, before)
    assert first.min() >= 0
    assert first.max() <= 1
    assert (first - pixels).abs().max() <= EPS + TOLERANCE
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize("call", CALLS, ids=NAMES)
def test_eps_0_leaves_the_images_as_they_are(call: Callable[..., torch.Tensor], pixels: torch.Tensor) -> None:
    target = Target(Convolutions(), normalise)
    assert torch.equal(call(target, pixels, predict(target, pixels), eps=0.0, steps=3, seed=0), pixels)


@pytest.mark.usefixtures("_installed")
def test_what_iterates_finds_no_less_than_fgsm(pixels: torch.Tensor) -> None:
    target = Target(Convolutions(), normalise)
    labels = predict(target, pixels)
    left = {
        name: int((predict(target, call(target, pixels, labels, eps=1 / 255, steps=10, seed=0)) == labels).sum())
        for name, call in zip(NAMES, CALLS, strict=True)
    }
    assert left["torchattacks_fgsm"] >= left["pgd"]
    assert left["torchattacks_fgsm"] >= left["apgd"]


@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("call", CALLS, ids=NAMES)
def test_a_batch_may_be_as_small_as_one_image(
    call: Callable[..., torch.Tensor], count: int, pixels: torch.Tensor
) -> None:
    target = Target(Convolutions(), normalise)
    found = call(target, pixels[:count], torch.zeros(count, dtype=torch.int64), eps=EPS, steps=3, seed=0)
    assert found.shape == (count, 3, 32, 32)


@pytest.mark.usefixtures("_installed")
def test_a_released_model_is_let_go(pixels: torch.Tensor) -> None:
    model = Convolutions()
    watched, target = weakref.ref(model), Target(model, normalise)
    pgd(target, pixels, predict(target, pixels), eps=EPS, steps=1, seed=0)
    target.release()
    del model
    gc.collect()
    assert watched() is None


@pytest.mark.usefixtures("_installed")
def test_definitions_say_whose_attack_it_is_and_which_version() -> None:
    assert attack_named("fgsm").protocol(10) == "stmbench.fgsm.v1"
    assert attack_named("torchattacks_fgsm").protocol(10) == f"torchattacks.fgsm.v{torchattacks_version()}"
    assert attack_named("pgd").protocol(20) == f"torchattacks.pgd20.v{torchattacks_version()}"
    assert attack_named("apgd").protocol(10) == f"torchattacks.apgd10.v{torchattacks_version()}"


def test_a_missing_torchattacks_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchattacks", None)
    for name in NAMES:
        with pytest.raises(InputError, match=r"torchattacks.*pip install 'stmbench\[attacks\]'"):
            attack_named(name)
    assert attack_named("fgsm").protocol(10) == "stmbench.fgsm.v1"


def test_an_unknown_attack_is_answered_with_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="did you mean"):
        attack_named("pgdd")


@pytest.mark.parametrize(
    ("text", "value"),
    [("8/255", 8 / 255), ("0.5/255", 0.5 / 255), (" 2 / 255", 2 / 255), ("0.03", 0.03), ("0", 0.0), ("1", 1.0),
     ("1e-3", 0.001), ("-0", 0.0)],
)  # fmt: skip
def test_eps_is_parsed_as_fraction_or_decimal(text: str, value: float) -> None:
    assert eps_of(text) == value


@pytest.mark.parametrize(
    "text", ["-0.1", "1.01", "8", "256/255", "1/-255", "nan", "inf", "1/0", "a", "", "1/2/3", "8/"]
)
def test_invalid_eps_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"eps .*change --eps"):
        eps_of(text)


@pytest.mark.parametrize("text", [*PAPER, "1/255", "0.25/255", "0.03", "0.001", "0", "1"])
def test_eps_is_shown_as_written(text: str) -> None:
    assert words(eps_of(text)) == text


def test_eps_are_unique_and_sorted() -> None:
    assert ordered([0.03, 0.0, 0.01, 0.03]) == (0.0, 0.01, 0.03)
