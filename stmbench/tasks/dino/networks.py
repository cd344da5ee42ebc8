"""Student and teacher: two copies of a network, each with a projection head."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from stmbench.architectures.feature_extractor import pooled
from stmbench.copies import copied
from stmbench.training.dino_recipe import GLOBAL_CROPS, DinoRecipe

INIT_STD: Final = 0.02


class Prototypes(nn.Module):
    """The last layer: (N, D) -> (N, K), with weights g v / |v| (Salimans and Kingma 2016), one v and g for each output.

    `fixed_gain` keeps every g at 1.
    """

    def __init__(self, width: int, count: int, *, fixed_gain: bool) -> None:
        super().__init__()
        self.weight_g = nn.Parameter(torch.ones(count, 1), requires_grad=not fixed_gain)
        self.weight_v = nn.Parameter(torch.empty(count, width))
        nn.init.kaiming_uniform_(self.weight_v, a=5**0.5)  # torch's own of a linear layer, which the authors keep

    def forward(self, x: Tensor) -> Tensor:
        """(N, D) -> (N, K)."""
        return F.linear(x, self.weight_g * F.normalize(self.weight_v, dim=1))


class ProjectionHead(nn.Module):
    """Features (N, D) -> logits (N, K) of prototypes: an MLP with GELU (and BatchNorm), unit length, the last layer.

    Names and first values are those of the authors' DINOHead.
    """

    def __init__(self, width: int, recipe: DinoRecipe) -> None:
        super().__init__()
        widths = [width, *[recipe.hidden_dim] * (recipe.head_layers - 1), recipe.bottleneck_dim]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            linear = nn.Linear(before, after)
            nn.init.trunc_normal_(linear.weight, std=INIT_STD)
            nn.init.zeros_(linear.bias)
            norm = [_batch_norm(before)] if recipe.head_norm else []
            layers += [*norm, nn.GELU(), linear] if layers else [linear]
        self.mlp = nn.Sequential(*layers)
        self.last_layer = Prototypes(recipe.bottleneck_dim, recipe.out_dim, fixed_gain=recipe.norm_last_layer)

    def forward(self, x: Tensor) -> Tensor:
        """(N, D) -> (N, K)."""
        found: Tensor = self.last_layer(F.normalize(self.mlp(x), dim=-1))
        return found


def _batch_norm(width: int) -> nn.Module:
    """(N, D) -> (N, D). Of maps, which is the kind that a run of several processes synchronises."""
    return nn.Sequential(nn.Unflatten(1, (width, 1, 1)), nn.BatchNorm2d(width), nn.Flatten(1))


class Network(nn.Module):
    """A backbone that gives pooled features, and its head."""

    def __init__(self, backbone: nn.Module, head: ProjectionHead) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, groups: Sequence[Tensor]) -> Tensor:
        """Groups of images, each of one size (N_i, 3, H_i, W_i) -> (sum of N_i, K)."""
        found: Tensor = self.head(torch.cat([pooled(self.backbone, images) for images in groups]))
        return found


class SelfDistillation(nn.Module):
    """Student, teacher, the centre of the teacher's logits, and sums of the watch.

    The teacher begins as the student, is never trained, and has no stochastic depth. Buffers: `centre` (K,), and
    `watch` (3,): sums of the teacher's entropy and of its divergence from the student, and the number of steps.
    """

    def __init__(self, backbone: nn.Module, width: int, recipe: DinoRecipe) -> None:
        super().__init__()
        self.student = Network(backbone, ProjectionHead(width, recipe))
        self.teacher = copied(self.student).requires_grad_(False)
        for module in self.teacher.modules():
            if hasattr(module, "drop_prob"):
                module.drop_prob = 0.0  # type: ignore[assignment]
            elif isinstance(module, StochasticDepth):
                module.p = 0.0
        self.register_buffer("centre", torch.zeros(recipe.out_dim))
        self.register_buffer("watch", torch.zeros(3))
        self.centre: Tensor
        self.watch: Tensor

    def forward(self, crops: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The student's logits of all crops and the teacher's of the first group, which are the global ones.

        Args:
            crops: (2 B, 3, H, W) global ones and, where there are any, (L B, 3, h, w) local ones, crop by crop.

        Returns:
            (2 + L, B, K) and (2, B, K), the latter without a graph.
        """
        batch = len(crops[0]) // GLOBAL_CROPS
        student = self.student(crops)
        with torch.no_grad():
            teacher = self.teacher(crops[:1])
        return student.unflatten(0, (-1, batch)), teacher.unflatten(0, (-1, batch))

    @torch.no_grad()
    def follow(self, momentum: float) -> None:
        """Move the teacher's parameters towards the student's; buffers stay its own, as in the authors' code."""
        torch._foreach_lerp_(self._of_teacher, self.of_student, 1 - momentum)

    # collected once, which takes longer than to move them
    @functools.cached_property
    def of_student(self) -> list[Tensor]:
        """The student's parameters."""
        return [*self.student.parameters()]

    @functools.cached_property
    def _of_teacher(self) -> list[Tensor]:
        return [*self.teacher.parameters()]

    def no_weight_decay(self) -> set[str]:
        """The student's parameters that its backbone exempts."""
        known: Any = self.student.backbone
        names = known.no_weight_decay() if hasattr(known, "no_weight_decay") else ()
        return {f"student.backbone.{name}" for name in names}
