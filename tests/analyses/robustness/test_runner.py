"""Attacks over batches: what is kept of every image, and the panel of checks on it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from stmbench.analyses.robustness import fgsm
from stmbench.analyses.robustness.attacks import ATTACKS, Attack
from stmbench.analyses.robustness.fgsm import Target
from stmbench.analyses.robustness.outcomes import Outcomes
from stmbench.analyses.robustness.runner import (
    PROBED,
    TOLERANCE,
    Images,
    against_fgsm,
    attack_images,
    broken_at,
    verdicts,
)
from stmbench.analyses.robustness.summary import model_summaries, panel
from stmbench.errors import UnitError
from tests.analyses.robustness.networks import Constant, Convolutions, Linear, ModeSensitive, normalise

EPS = (0.5 / 255, 2 / 255, 8 / 255)


def _batches(count: int = 20, size: int = 9, *, labels: bool = True, side: int = 32) -> list[Images]:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(count, 3, side, side, generator=generator)
    truth = torch.randint(0, 10, (count,), generator=generator)
    return [
        (pixels[start : start + size], truth[start : start + size] if labels else None,
         [100 + i for i in range(count)][start : start + size])
        for start in range(0, count, size)
    ]  # fmt: skip


def _broken(outcomes: Outcomes) -> set[str]:
    return {verdict.check for verdict in verdicts(outcomes) if not verdict.passes}


@pytest.mark.parametrize("eps", [EPS, (0.0, *EPS), (0.0,)])
@pytest.mark.parametrize("labels", [True, False])
def test_every_image_is_kept_at_every_eps(eps: tuple[float, ...], labels: bool) -> None:
    target, told = Target(Convolutions(), normalise), []
    found = attack_images(target, ATTACKS["fgsm"], _batches(labels=labels), eps, done=told.append)
    assert told == [PROBED, 9, 18, 20]
    assert found.adversarial.shape == (len(eps), 20)
    assert found.indices.tolist() == list(range(100, 120))
    pixels = torch.cat([batch[0] for batch in _batches()])
    expected = fgsm.gradient(target, pixels, None if not labels else torch.as_tensor(found.labels))
    assert found.clean.tolist() == expected.logits.argmax(1).tolist()
    assert len(found.probe) == (20 if 0.0 in eps else PROBED)
    for level, size in enumerate(eps):
        assert found.adversarial[level].tolist() == target(expected.step(pixels, size)).argmax(1).tolist()
        assert found.reach[level] <= size + TOLERANCE
    assert found.own_labels is not labels
    assert found.metric == ("accuracy" if labels else "consistency")
    if not labels:
        assert found.clean_hits.all()
        assert _broken(found) == set()


def test_clean_accuracy_is_eps_0() -> None:
    found = attack_images(Target(Convolutions(), normalise), ATTACKS["fgsm"], _batches(), (0.0, *EPS))
    assert np.array_equal(found.adversarial[0], found.clean)
    (eps, hits), *rest = found.levels()
    assert eps == 0.0
    assert np.array_equal(hits, found.clean_hits)
    assert [level for level, _ in rest] == list(EPS)


def test_a_file_holds_all_of_it(tmp_path: Path) -> None:
    found = attack_images(Target(Convolutions(), normalise), ATTACKS["fgsm"], _batches(), EPS)
    found.write(tmp_path / "a.predictions.npz")
    again = Outcomes.read(tmp_path / "a.predictions.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["a.predictions.npz"]
    for field in dataclasses.fields(Outcomes):
        assert np.array_equal(getattr(again, field.name), getattr(found, field.name)), field.name


@pytest.mark.parametrize("name", ["pgd", "apgd"])
def test_a_random_start_depends_on_the_seed_alone(name: str) -> None:
    pytest.importorskip("torchattacks")
    target = Target(Convolutions(), normalise)
    runs = [attack_images(target, ATTACKS[name], _batches(labels=False), EPS, steps=2, seed=s) for s in (1, 1, 2)]
    assert np.array_equal(runs[0].adversarial, runs[1].adversarial)
    assert np.array_equal(runs[0].reach, runs[1].reach)
    assert np.isnan(runs[0].zero_share).all()
    assert _broken(runs[0]) <= {"falls_with_eps"}


@pytest.mark.parametrize("name", list(ATTACKS))
def test_a_linear_model_falls_where_it_must(name: str) -> None:
    """Margins of 1/255, 3/255 and 9/255 in units of the furthest move: each eps takes one image more."""
    if ATTACKS[name].owner == "torchattacks":
        pytest.importorskip("torchattacks")
    weight = torch.ones(3, 4, 4) / 48
    margins = torch.tensor([1, 3, 9]) / 255
    pixels = (0.5 + margins).view(3, 1, 1, 1).expand(3, 3, 4, 4).contiguous()
    target = Target(Linear(weight, bias=-0.5), lambda x: x)
    found = attack_images(target, ATTACKS[name], [(pixels, torch.ones(3, dtype=torch.int64), [0, 1, 2])], EPS, steps=20)
    assert [hits.sum() for _, hits in found.levels()] == [3, 3, 2, 1]
    assert _broken(found) == set()


def test_no_image_is_a_failure() -> None:
    with pytest.raises(UnitError, match="no image"):
        attack_images(Target(Convolutions(), normalise), ATTACKS["fgsm"], [], EPS)


def test_nan_logits_are_a_failure() -> None:
    with pytest.raises(UnitError, match="NaN logits"):
        attack_images(Target(Constant((float("nan"), 0.0)), normalise), ATTACKS["fgsm"], _batches(), EPS)


# the panel: a sound attack passes, and each unsound one breaks the check that is meant for it


def test_a_prediction_that_changes_at_eps_0_is_found() -> None:
    found = attack_images(Target(ModeSensitive(), lambda x: x), ATTACKS["fgsm"], _batches(labels=False), EPS)
    assert "eps0_is_clean" in _broken(found)
    assert all("4 of 4 images" in str(broken_at(list(verdicts(found)), eps)["reason"]) for eps in (0.0, *EPS))


@pytest.mark.parametrize(
    ("unsound", "check"),
    [
        (lambda target, x, y, *, eps, steps, seed: x + eps, "pixels_in_range"),
        (lambda target, x, y, *, eps, steps, seed: (x + 1.01 * eps).clamp(0, 1), "within_eps"),
        (lambda target, x, y, *, eps, steps, seed: (x - eps - 4 * TOLERANCE).clamp(0, 1), "within_eps"),
        (lambda target, x, y, *, eps, steps, seed: x * torch.nan, "pixels_in_range"),
    ],
)
def test_images_that_leave_their_bounds_are_found(unsound: object, check: str) -> None:
    attack = Attack(name="unsound", title="Unsound", call=unsound)  # type: ignore[arg-type]
    found = attack_images(Target(Constant((1.0, 0.0)), torch.nan_to_num), attack, _batches(), EPS)
    assert check in _broken(found)
    assert broken_at(list(verdicts(found)), EPS[-1])["status"] == "suspect"


def test_a_gradient_that_vanishes_is_found() -> None:
    found = attack_images(Target(Constant((1.0, 0.0)), normalise), ATTACKS["fgsm"], _batches(labels=False), EPS)
    assert _broken(found) == {"gradient_not_zero"}
    assert "20 of 20" in str(broken_at(list(verdicts(found)), 0.0)["reason"])


def _outcomes(*hits: list[int], eps: tuple[float, ...] = EPS, indices: list[int] | None = None) -> Outcomes:
    """Outcomes whose clean and adversarial hits are as given, one list per level."""
    clean, *adversarial = (np.asarray(level) for level in hits)
    count, zeros = len(clean), np.zeros(len(adversarial))
    return Outcomes(
        eps=np.asarray(eps[: len(adversarial)]), indices=np.asarray(indices or range(count)),
        labels=np.ones(count, np.int64), clean=clean, adversarial=np.stack(adversarial), reach=zeros, low=zeros,
        high=zeros, probe=clean, zero_share=np.full(count, np.nan), own_labels=False,
    )  # fmt: skip


def test_accuracy_that_rises_with_eps_is_found_where_it_rises() -> None:
    found = _outcomes([1, 1, 1, 0], [0, 0, 1, 0], [1, 0, 1, 1], [0, 0, 0, 0])
    broken = [verdict for verdict in verdicts(found) if not verdict.passes]
    assert [(verdict.check, verdict.eps) for verdict in broken] == [("falls_with_eps", EPS[1])]
    assert "rises from 0.25 at eps 0.5/255 to 0.75 (2 images gained, 0 lost, p = 0.5)" in str(broken[0].reason)
    assert broken_at(broken, EPS[1])["status"] == "suspect"
    assert not broken_at(broken, EPS[0])


def test_pgd_that_finds_less_than_fgsm_is_found_on_the_common_images() -> None:
    weak = _outcomes([1, 1, 1, 1], [1, 0, 0, 0], indices=[5, 6, 7, 8])
    same, less = (
        _outcomes([1, 1, 1, 1], [1, 0, 0, 0], indices=[5, 6, 7, 8]),
        _outcomes([1] * 3, [1, 1, 0], indices=[8, 6, 5]),
    )
    assert all(verdict.passes for verdict in against_fgsm(same, weak, "PGD"))
    (verdict,) = against_fgsm(less, weak, "PGD")
    assert "accuracy under PGD is 0.6667, above 0.3333 under FGSM" in str(verdict.reason)


def test_the_broken_check_is_in_every_row_that_stands_on_it() -> None:
    found = {
        "fgsm": _outcomes([1, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]),
        "pgd": _outcomes([1, 1, 1, 0], [1, 0, 1, 0], [0, 0, 0, 0]),
    }
    rows = list(model_summaries(found, panel(found)))
    suspect = {
        (row.attack, row.metric, row.columns.get("level")) for row in rows if row.columns.get("status") == "suspect"
    }
    assert suspect == {(("pgd"), metric, EPS[0]) for metric in ("accuracy", "accuracy_on_correct", "validity")}
    passed = [row for row in rows if row.metric == "validity" and row.interval.estimate == 1.0]
    assert {row.columns["condition"] for row in passed} == {
        "eps0_is_clean", "pixels_in_range", "within_eps", "falls_with_eps", "fgsm_not_below",
    }  # fmt: skip


def test_without_an_attack_that_iterates_its_check_is_skipped_in_words() -> None:
    found = {"fgsm": _outcomes([1, 0], [1, 0])}
    (row,) = [row for row in model_summaries(found, panel(found)) if row.columns.get("status") == "skipped"]
    assert row.columns["condition"] == "fgsm_not_below"
    assert "--attacks fgsm,pgd" in str(row.columns["reason"])
