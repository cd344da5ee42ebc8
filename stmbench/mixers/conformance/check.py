"""A check: a name, the promise in words, the remedy, and the function that raises where the promise is broken."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

from stmbench.mixers.conformance.subject import Subject


class BrokenPromiseError(Exception):
    """Raised by a check: the text says what was found instead of what was promised."""


class NotApplicableError(Exception):
    """Raised by a check that has nothing to look at: the text says why."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """One promise of the contract. `needs` names the checks without which its answer would mean nothing."""

    name: str
    promise: str
    remedy: str
    needs: tuple[str, ...]
    function: Callable[[Subject], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a check said: `found` is what broke the promise, or why the check was skipped."""

    check: str
    status: Literal["passed", "failed", "skipped"]
    promise: str
    found: str = ""
    remedy: str = ""


CHECKS: dict[str, Check] = {}


def check(
    promise: str, *, remedy: str, needs: tuple[str, ...] = ("shape",)
) -> Callable[[Callable[[Subject], None]], Callable[[Subject], None]]:
    """Decorator: the function's name becomes the check's name, the order of definition the order of running."""

    def decorate(function: Callable[[Subject], None]) -> Callable[[Subject], None]:
        name = function.__name__
        CHECKS[name] = Check(name=name, promise=promise, remedy=remedy, needs=needs, function=function)
        return function

    return decorate
