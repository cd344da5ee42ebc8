"""The loss against its equations and lightly's, schedules against the authors' arrays, the watch at both collapses."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from stmbench.tasks.dino.objective import collapse, cosine, distil, limit_each, teacher_temperature
from stmbench.training.dino_recipe import DINO, DINO_PRESETS


def logits(crops: int, *, seed: int, batch: int = 5, outputs: int = 7) -> Tensor:
    return torch.randn(crops, batch, outputs, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_loss_of_lightly_with_its_centre(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIGHTLY_DID_VERSION_CHECK", "True")  # it would ask the internet for a newer one
    lightly = pytest.importorskip("lightly.loss")
    theirs = lightly.DINOLoss(output_dim=7, teacher_temp=0.05, student_temp=0.12, center_momentum=0.8).double()
    centre = torch.zeros(7, dtype=torch.float64)
    for step in range(3):
        student, teacher = logits(6, seed=step).requires_grad_(), logits(2, seed=10 + step)
        found = distil(student, teacher, centre, student_temperature=0.12, teacher_temperature=0.05).loss
        (gradient,) = torch.autograd.grad(found, student)
        wanted = theirs(list(teacher), list(student), teacher_temp=0.05)
        (wanted_gradient,) = torch.autograd.grad(wanted, student)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
        torch.testing.assert_close(gradient, wanted_gradient, rtol=0, atol=1e-6)
        centre.lerp_(teacher.mean((0, 1)), 0.2)
        torch.testing.assert_close(centre, theirs.center.flatten().double(), rtol=0, atol=1e-6)


def test_the_loss_is_the_mean_over_pairs_of_different_crops() -> None:
    student, teacher, centre = logits(4, seed=0), logits(2, seed=1), logits(1, seed=2)[0, 0]
    found = distil(student, teacher, centre, student_temperature=0.1, teacher_temperature=0.04)
    chances = ((teacher - centre) / 0.04).softmax(-1)
    terms = [
        -(chances[i] * (student[v] / 0.1).log_softmax(-1)).sum(-1).mean() for i in range(2) for v in range(4) if v != i
    ]
    torch.testing.assert_close(found.loss, torch.stack(terms).mean())
    torch.testing.assert_close(found.entropy, -(chances * chances.log()).sum(-1).mean())
    torch.testing.assert_close(found.loss, found.entropy + found.divergence)


def test_half_precision_is_summed_in_single() -> None:
    student, teacher, centre = logits(4, seed=0, outputs=512), logits(2, seed=1, outputs=512), torch.zeros(512)
    low = distil(student.bfloat16(), teacher.bfloat16(), centre, student_temperature=1.0, teacher_temperature=1.0)
    high = distil(student, teacher, centre, student_temperature=1.0, teacher_temperature=1.0)
    assert low.loss.dtype == torch.float32
    assert float(low.loss) == pytest.approx(float(high.loss), rel=1e-3)


def test_schedules_are_the_authors_arrays() -> None:
    steps = 40
    wanted = [0.4 + 0.5 * (0.04 - 0.4) * (1 + math.cos(math.pi * step / steps)) for step in range(steps)]
    np.testing.assert_allclose([cosine(0.04, 0.4, step, steps) for step in range(steps)], wanted)
    recipe = DINO_PRESETS["dino_hierarchical"]
    temperatures = np.concatenate([np.linspace(0.04, 0.07, 30), np.full(70, 0.07)])
    np.testing.assert_allclose([teacher_temperature(recipe, epoch) for epoch in range(100)], temperatures)
    assert teacher_temperature(DINO, 0) == 0.04
    one = dataclasses.replace(recipe, teacher_warmup_epochs=1)
    assert [teacher_temperature(one, epoch) for epoch in (0, 1)] == [0.04, 0.07]


@pytest.mark.parametrize(
    ("entropy", "divergence", "said"),
    [
        (0.0, 0.0, "one output wins"),
        (math.log(1024), 0.0, "all outputs are equal"),
        (3.0, 0.0, None),
        (math.log(1024), 0.5, None),
        (0.0, 0.5, None),
    ],
)
def test_a_collapse_is_an_answer_without_a_divergence(entropy: float, divergence: float, said: str | None) -> None:
    found = collapse(entropy, divergence, 1024)
    assert found is None if said is None else said in str(found)


def test_each_gradient_is_limited_by_its_own_norm() -> None:
    long, short = torch.tensor([30.0, 40.0]), torch.tensor([0.3, 0.4])
    gradients = [long.clone(), short.clone()]
    limit_each(gradients, 3.0)
    torch.testing.assert_close(gradients[0], long * 3 / 50, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradients[1], short)
    limit_each([], 3.0)
