"""The attacks by name: what each is called in the table, and how it turns a batch into adversarial ones.

Those of torchattacks (Kim, 2020) come with the extra 'attacks', which is imported when first used: it pins an old
requests, which warns.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import math
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from stmbench.errors import ConfigError, MissingPackageError, UnknownNameError

if TYPE_CHECKING:
    from torch import Tensor

    from stmbench.analyses.robustness.fgsm import Target

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
    import torch

    module = torchattacks()
    devices = [target.device] if target.device.type == "cuda" else []
    # what it prints belongs to no row: standard output may be JSON
    with torch.random.fork_rng(devices=devices), contextlib.redirect_stdout(sys.stderr):
        torch.manual_seed(seed)
        attack = getattr(module, name)(target, **settings, **({"seed": seed} if seed_argument else {}))
        adversarial: Tensor = attack(pixels, labels)
    return adversarial.detach()


def fgsm_normalised(target: Target, pixels: Tensor, labels: Tensor, *, eps: float, steps: int, seed: int) -> Tensor:
    """The mistake of `fgsm.fgsm_normalised`."""
    from stmbench.analyses.robustness import fgsm

    return fgsm.fgsm_normalised(target, pixels, labels, eps=eps, steps=steps, seed=seed)


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
            from stmbench.analyses.robustness.fgsm import gradient

            slope = gradient(target, pixels, labels)
            images = (slope.step(pixels, size) for size in eps)
            return Attacked(clean=slope.logits.argmax(1), images=images, zero_share=slope.zero_share)
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
    import torch

    with torch.inference_mode():
        classes: Tensor = target(pixels).argmax(1)
    return classes.clone()  # as labels they go through autograd, which takes no tensor of inference mode


PAPER = ("8/255", "2/255", "0.5/255")  # Hu et al., section 6.3
REMEDY = "change --eps: pixels lie in [0, 1], so the paper's largest is 8/255"
LEVELS = 255


def eps_of(text: str) -> float:
    """The number that a text such as '8/255', '0.5/255' or '0.03' means. Raises ConfigError outside [0, 1]."""
    parts = text.strip().split("/")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or (len(numbers) == 2 and numbers[1] == 0):
        raise ConfigError("an eps such as 8/255 or 0.03", repr(text), REMEDY)
    return checked(numbers[0] / numbers[1] if len(numbers) == 2 else numbers[0], text)


def checked(value: float, text: str | None = None) -> float:
    """The eps itself, where it is a number in [0, 1]; else raises ConfigError."""
    if not (math.isfinite(value) and 0 <= value <= 1):
        raise ConfigError("an eps from 0 to 1", repr(value if text is None else text), REMEDY)
    return abs(value)  # -0.0 is 0


def ordered(values: Iterable[float]) -> tuple[float, ...]:
    """Each value once, from the smallest up."""
    return tuple(sorted(set(values)))


def words(value: float) -> str:
    """How an eps is said: in 255ths where these are whole or quarters, as '0.5/255', else as a decimal."""
    quarters = round(value * LEVELS * 4)
    if 0 < value < 1 and math.isclose(quarters, value * LEVELS * 4, rel_tol=1e-9):
        return f"{quarters / 4:.10g}/{LEVELS}"
    return f"{value:.6g}"


STEPS = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class RobustnessConfig:
    """Attacks by name, eps on the scale [0, 1], and the steps of attacks that iterate.

    Raises ConfigError for eps outside [0, 1], UnknownNameError for an attack that is not known, and InputError, naming
    the extra, for one that needs torchattacks where it is not installed.
    """

    attacks: tuple[str, ...] = ("fgsm",)
    eps: tuple[float, ...] = ordered(eps_of(text) for text in PAPER)
    steps: int = STEPS

    def __post_init__(self) -> None:
        if not self.attacks or len(set(self.attacks)) != len(self.attacks):
            raise ConfigError("each attack once, and at least one", repr(self.attacks), "change --attacks")
        if not self.eps:
            raise ConfigError("at least one eps", "none", "change --eps")
        if self.steps < 1:
            raise ConfigError("at least one step", repr(self.steps), "change --steps")
        object.__setattr__(self, "eps", ordered(checked(value) for value in self.eps))
        self.chosen()

    def chosen(self) -> list[Attack]:
        """The attacks, in the order asked for."""
        return [attack_named(name) for name in self.attacks]
