"""The attacks by name: what each is called in the table, and how it turns a batch into adversarial ones.

Those of torchattacks (Kim, 2020) come with the extra 'attacks', which is imported when first used: it pins an old
requests, which warns.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol

import torch
from torch import Tensor

from stmbench.analyses.robustness.fgsm import Target, fgsm_normalised, gradient
from stmbench.errors import MissingPackageError, UnknownNameError

PGD_REACH = 2.5  # steps of alpha = 2.5 eps / steps reach every corner of the ball (Madry et al. 2018, section C)


def torchattacks() -> Any:
    """The module. Raises MissingPackageError where it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the old requests complains about newer companions
            import torchattacks as module
    except ImportError as error:
        alternative = "use --attacks fgsm, which needs no extra"
        raise MissingPackageError("torchattacks", "this attack", "attacks", alternative) from error
    return module


def torchattacks_version() -> str:
    """The installed version, for definitions. Raises MissingPackageError where torchattacks is missing."""
    torchattacks()
    return importlib.metadata.version("torchattacks")


def torchattacks_fgsm(target: Target, pixels: Tensor, labels: Tensor, *, eps: float, steps: int, seed: int) -> Tensor:
    """FGSM; `steps` and `seed` do not matter to it."""
    return _attack("FGSM", target, pixels, labels, seed=seed, eps=eps)


def pgd(target: Target, pixels: Tensor, labels: Tensor, *, eps: float, steps: int, seed: int) -> Tensor:
    """Projected gradient descent (Madry et al. 2018) from a random start, alpha = 2.5 eps / steps."""
    alpha = PGD_REACH * eps / steps
    return _attack("PGD", target, pixels, labels, seed=seed, eps=eps, alpha=alpha, steps=steps, random_start=True)


def apgd(target: Target, pixels: Tensor, labels: Tensor, *, eps: float, steps: int, seed: int) -> Tensor:
    """Auto-PGD on the cross-entropy (Croce and Hein 2020): momentum, and a step size that adapts to each image."""
    return _attack(
        "APGD", target, pixels, labels, seed=seed, eps=eps, steps=steps, norm="Linf", loss="ce", n_restarts=1,
        seed_argument=True,
    )  # fmt: skip


def _attack(
    name: str,
    target: Target,
    pixels: Tensor,
    labels: Tensor,
    *,
    seed: int,
    seed_argument: bool = False,
    **settings: Any,
) -> Tensor:
    """(B, 3, H, W) adversarial images; the state of the random number generators is left as it was."""
    module = torchattacks()
    devices = [target.device] if target.device.type == "cuda" else []
    # what it prints belongs to no row: standard output may be JSON
    with torch.random.fork_rng(devices=devices), contextlib.redirect_stdout(sys.stderr):
        torch.manual_seed(seed)
        attack = getattr(module, name)(target, **settings, **({"seed": seed} if seed_argument else {}))
        found: Tensor = attack(pixels, labels)
    return found.detach()


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
    """An attack of one batch at one eps."""

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
        return f"{TORCHATTACKS}.{plain}{steps if self.iterates else ''}.v{torchattacks_version()}"

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
        Attack(name="torchattacks_fgsm", title="FGSM (torchattacks)", owner=TORCHATTACKS, call=torchattacks_fgsm),
        Attack(name="pgd", title="PGD", owner=TORCHATTACKS, call=pgd, iterates=True),
        Attack(name="apgd", title="Auto-PGD", owner=TORCHATTACKS, call=apgd, iterates=True),
        Attack(name="fgsm_normalised", title="FGSM on normalised input", owner=MISTAKEN, call=fgsm_normalised),
    )
}
SOUND = tuple(name for name, attack in ATTACKS.items() if attack.owner != MISTAKEN)  # what 'all' means


def attack_named(name: str) -> Attack:
    """The attack. Raises UnknownNameError, and InputError where it needs torchattacks, which is not there."""
    if name not in ATTACKS:
        raise UnknownNameError("attack", name, ATTACKS)
    if ATTACKS[name].owner == TORCHATTACKS:
        torchattacks()
    return ATTACKS[name]


def predict(target: Target, pixels: Tensor) -> Tensor:
    """(B,) int64, the classes with the largest logit."""
    with torch.inference_mode():
        classes: Tensor = target(pixels).argmax(1)
    return classes.clone()  # as labels they go through autograd, which takes no tensor of inference mode
