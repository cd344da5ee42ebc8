"""What the student learns, and how the teacher is kept from giving every image the same answer."""

from __future__ import annotations

import dataclasses
import math
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from stmbench.training.dino_recipe import DinoRecipe

COLLAPSED: Final = 0.01  # of the largest entropy: below it all answers are alike


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Distilled:
    """Of one batch: the loss with its graph, and without one the teacher's mean entropy and mean divergence (nats)."""

    loss: Tensor
    entropy: Tensor
    divergence: Tensor


def distil(
    student: Tensor, teacher: Tensor, centre: Tensor, *, student_temperature: float, teacher_temperature: float
) -> Distilled:
    """The loss of Caron et al. 2021, Eq. 1 to 4.

    The cross-entropy of the student's answer to a crop against the teacher's to a global one, softmax((t - c) / T),
    averaged over images and all pairs of different crops. It is the sum of the teacher's entropy and of the divergence
    KL(teacher | student).

    Args:
        student: (V, B, K) logits of all crops, the global ones first. teacher: (G, B, K) logits of the global ones.
        centre: (K,).
    """
    globals_, batch = teacher.shape[:2]
    wide = torch.promote_types(student.dtype, torch.float32)
    targets = ((teacher.to(wide) - centre.to(wide)) / teacher_temperature).log_softmax(-1)
    answers = F.log_softmax(student.to(wide) / student_temperature, dim=-1)
    chances = targets.exp()
    # (G, V): the cross-entropy of each pair, summed over images
    pairs = -(chances.flatten(1) @ answers.flatten(1).T)
    count = globals_ * (len(student) - 1)
    loss = (pairs.sum() - pairs.diagonal().sum()) / (count * batch)
    entropy = -(chances * targets).sum(-1).mean()
    return Distilled(loss=loss, entropy=entropy, divergence=loss.detach() - entropy)


def cosine(start: float, end: float, step: int, steps: int) -> float:
    """From `start` at step 0 towards `end` at the run's end, along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * step / steps)) / 2


def teacher_temperature(recipe: DinoRecipe, epoch: int) -> float:
    """Of an epoch: a line over the warm-up's epochs, whose last one has the end's already, as in the authors' code."""
    start, end, warmup = recipe.teacher_temperature_start, recipe.teacher_temperature, recipe.teacher_warmup_epochs
    if epoch >= warmup or warmup <= 1:
        return end if epoch >= warmup else start
    return start + (end - start) * min(1.0, epoch / (warmup - 1))


def collapse(entropy: float, divergence: float, outputs: int) -> str | None:
    """What a teacher whose answers do not depend on the image is like; None for one whose do.

    Caron et al. 2021, Section 5.3: with a divergence of 0 the student has learned one answer for all images; its
    entropy is 0 where one output wins, and ln K where all are equal.

    Args:
        entropy, divergence: of an epoch, in nats. outputs: K.
    """
    largest = math.log(outputs)
    if divergence > COLLAPSED * largest:
        return None
    if entropy < COLLAPSED * largest:
        return "one output wins for every image: raise teacher_temperature or lower centre_momentum"
    if entropy > (1 - COLLAPSED) * largest:
        return "all outputs are equal for every image: lower teacher_temperature"
    return None


@torch.no_grad()
def limit_each(gradients: list[Tensor], largest: float) -> None:
    """Scale each gradient, in place, so that its own norm is at most `largest`, as in the authors' code."""
    if gradients:
        norms = torch.stack(torch._foreach_norm(gradients))
        torch._foreach_mul_(gradients, list((largest / (norms + 1e-6)).clamp(max=1.0).unbind()))
