"""The attacks by name: what each is called in the table, and how it turns a batch into adversarial ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

import torch
from torch import Tensor

from stmbench.analyses.robustness import library
from stmbench.analyses.robustness.fgsm import Target, fgsm_normalised, gradient
from stmbench.errors import UnknownNameError

TORCHATTACKS: Final = "torchattacks"
MISTAKEN: Final = "mistaken"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attacked:
    """What an attack makes of a batch.

    `clean` is (B,) int64, the predictions on the images as they are; `images` gives (B, 3, H, W) for one eps after the
    other, made when asked for; `zero_share` is (B,), the share of each image's gradient that is exactly 0, where the
    attack knows it.
    """

    clean: Tensor
    images: Iterator[Tensor]
    zero_share: Tensor | None = None


class Call(Protocol):
    """An attack of one batch at one eps, as in `library` and `mistakes`."""

    def __call__(
        self, target: Target, pixels: Tensor, labels: Tensor, *, eps: float, steps: int, seed: int
    ) -> Tensor: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attack:
    """An attack; `call` None is our own FGSM, and `iterates` says whether the number of steps matters.

    `owner` is whose protocol it is: stmbench, torchattacks, or mistaken, which none but its name asks for.
    """

    name: str
    title: str
    owner: str = "stmbench"
    call: Call | None = None
    iterates: bool = False

    def protocol(self, steps: int) -> str:
        """The definition: stmbench.fgsm.v1, torchattacks.pgd10.v3.5.1 (ten steps, the library's version)."""
        if self.owner != TORCHATTACKS:
            return f"{self.owner}.{self.name}.v1"
        plain = self.name.removeprefix("torchattacks_")
        return f"{TORCHATTACKS}.{plain}{steps if self.iterates else ''}.v{library.version()}"

    def passes(self, num_eps: int, steps: int) -> int:
        """Forward and backward passes of one image, evaluation included: what the time left is estimated from."""
        if self.call is None:
            return 2 + num_eps
        return 1 + num_eps * (1 + 2 * (steps if self.iterates else 1))

    def run(
        self, target: Target, pixels: Tensor, labels: Tensor | None, eps: Sequence[float], *, steps: int, seed: int
    ) -> Attacked:
        """Attack a batch at every eps.

        Args:
            pixels: (B, 3, H, W) float32 in [0, 1], on the target's device.
            labels: (B,) int64; None attacks the model's own predictions.
            seed: of a random start.
        """
        if self.call is None:
            found = gradient(target, pixels, labels)
            images = (found.step(pixels, size) for size in eps)
            return Attacked(clean=found.logits.argmax(1), images=images, zero_share=found.zero_share)
        clean = predict(target, pixels)
        goal = clean if labels is None else labels
        call: Call = self.call
        return Attacked(
            clean=clean, images=(call(target, pixels, goal, eps=size, steps=steps, seed=seed) for size in eps)
        )


ATTACKS = {
    attack.name: attack
    for attack in (
        Attack(name="fgsm", title="FGSM"),
        Attack(name="torchattacks_fgsm", title="FGSM (torchattacks)", owner=TORCHATTACKS, call=library.fgsm),
        Attack(name="pgd", title="PGD", owner=TORCHATTACKS, call=library.pgd, iterates=True),
        Attack(name="apgd", title="Auto-PGD", owner=TORCHATTACKS, call=library.apgd, iterates=True),
        Attack(name="fgsm_normalised", title="FGSM on normalised input", owner=MISTAKEN, call=fgsm_normalised),
    )
}
SOUND = tuple(name for name, attack in ATTACKS.items() if attack.owner != MISTAKEN)  # what 'all' means


def attack_named(name: str) -> Attack:
    """The attack. Raises UnknownNameError, and InputError where it needs torchattacks, which is not there."""
    if name not in ATTACKS:
        raise UnknownNameError("attack", name, ATTACKS)
    if ATTACKS[name].owner == TORCHATTACKS:
        library.torchattacks()
    return ATTACKS[name]


def predict(target: Target, pixels: Tensor) -> Tensor:
    """(B,) int64, the classes with the largest logit."""
    with torch.inference_mode():
        classes: Tensor = target(pixels).argmax(1)
    return classes.clone()  # as labels they go through autograd, which takes no tensor of inference mode
