"""The known mistake `fgsm_normalised` fails the checks of validity that our FGSM passes."""

from __future__ import annotations

import numpy as np
import torch

from stmbench.analyses.robustness.attacks import ATTACKS, SOUND
from stmbench.analyses.robustness.fgsm import Target, fgsm_normalised
from stmbench.analyses.robustness.runner import Images, attack_images, verdicts
from stmbench.analyses.robustness.summary import model_summaries
from tests.analyses.robustness.networks import MEAN, STD, Convolutions, normalise

EPS = (0.0, 0.5 / 255, 2 / 255, 8 / 255)
SETTINGS = {"steps": 1, "seed": 0}


def _batches() -> list[Images]:
    pixels = torch.rand(24, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    labels = Target(Convolutions(), normalise)(pixels).argmax(1)  # so that the clean accuracy is 1
    return [(pixels, labels, range(24))]


def _broken(name: str) -> set[str]:
    found = attack_images(Target(Convolutions(), normalise), ATTACKS[name], _batches(), EPS)
    return {verdict.check for verdict in verdicts(found) if not verdict.passes}


def test_sound_fgsm_passes_every_check() -> None:
    found = attack_images(Target(Convolutions(), normalise), ATTACKS["fgsm"], _batches(), EPS)
    assert np.array_equal(found.adversarial[0], found.clean)
    assert np.all(found.reach <= np.asarray(EPS) + 2**-22)
    assert _broken("fgsm") == set()


def test_fgsm_normalised_fails_eps0_and_bound_checks() -> None:
    found = attack_images(Target(Convolutions(), normalise), ATTACKS["fgsm_normalised"], _batches(), EPS)
    assert (found.adversarial[0] != found.clean).any(), "eps 0 is no longer the clean accuracy"
    assert found.reach[0] > 0.4, "all that is darker than the mean was cut off"
    assert _broken("fgsm_normalised") >= {"eps0_is_clean", "within_eps"}


def test_unclamped_pixel_moves_by_eps_times_std() -> None:
    mean, std = torch.tensor(MEAN).view(1, 3, 1, 1), torch.tensor(STD).view(1, 3, 1, 1)
    pixels = (mean + std / 2).expand(2, 3, 32, 32).contiguous()  # in the middle of what the clamp leaves
    found = fgsm_normalised(Target(Convolutions(), normalise), pixels, torch.tensor([0, 1]), eps=8 / 255, **SETTINGS)
    moved = (found - pixels).abs().amax((0, 2, 3))
    assert torch.allclose(moved, 8 / 255 * torch.tensor(STD), rtol=1e-4)


def test_fgsm_normalised_runs_only_by_name() -> None:
    assert SOUND == ("fgsm", "torchattacks_fgsm", "pgd", "apgd")
    assert ATTACKS["fgsm_normalised"].protocol(10) == "mistaken.fgsm_normalised.v1"


def test_attacked_accuracy_at_eps_0_has_its_own_row() -> None:
    found = attack_images(Target(Convolutions(), normalise), ATTACKS["fgsm_normalised"], _batches(), EPS)
    at_zero = {
        row.columns.get("condition"): row.interval.estimate
        for row in model_summaries({"fgsm_normalised": found}, {"fgsm_normalised": list(verdicts(found))})
        if row.metric == "accuracy" and row.columns["level"] == 0
    }
    assert at_zero == {None: 1.0, "attacked": np.mean(found.adversarial[0] == found.labels)}
    assert at_zero["attacked"] < 1
