"""The attacks of torchattacks (Kim, 2020), behind the same two functions: is it there, and attack this batch.

torchattacks comes with the extra 'attacks' and is imported when first used: it pins an old requests, which warns.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import sys
import warnings
from typing import Any

import torch
from torch import Tensor

from stmbench.analyses.robustness.fgsm import Target
from stmbench.errors import MissingPackageError

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


def version() -> str:
    """The installed version, for definitions. Raises MissingPackageError where torchattacks is missing."""
    torchattacks()
    return importlib.metadata.version("torchattacks")


def fgsm(target: Target, pixels: Tensor, labels: Tensor, *, eps: float, steps: int, seed: int) -> Tensor:
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
