"""What STMBENCH_KERNELS asks for, whether kernels can run on given tensors, and how often each of them ran."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor

from stmbench.errors import require
from stmbench.kernels import library

VARIABLE = "STMBENCH_KERNELS"
CHOICES = ("auto", "off")


def choice() -> str:
    """What the variable says. Raises ConfigError for a word that it does not know."""
    chosen = os.environ.get(VARIABLE, "auto").strip().lower() or "auto"
    require(chosen in CHOICES, f"{VARIABLE}={' or '.join(CHOICES)}", chosen)
    return chosen


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator,unused-ignore]
def are_ready() -> bool:
    """Whether the kernels are wanted and could be compiled; the first call may compile them (seconds)."""
    return choice() == "auto" and library.load().functions is not None


def can_run(*tensors: Tensor) -> bool:
    """Whether the kernels take these tensors: all on the CPU, in no trace or export, which shows the plain form, and in
    no function transform or forward mode, which need derivatives that the kernels have not."""
    if torch.jit.is_tracing() or _is_exporting():  # type: ignore[attr-defined,no-untyped-call,unused-ignore]
        return False
    if is_transformed():
        return False
    return all(tensor.device.type == "cpu" for tensor in tensors) and are_ready()


def is_transformed() -> bool:
    """Whether torch.func's vmap, grad or jvp is at work, or forward mode; while a graph is compiled it does not say."""
    if torch.compiler.is_compiling():
        return False
    return torch._C._functorch.peek_interpreter_stack() is not None or torch.autograd.forward_ad._current_level >= 0


def _is_exporting() -> bool:
    is_exporting = getattr(torch.compiler, "is_exporting", None)  # since torch 2.7
    return is_exporting is not None and bool(is_exporting())


def identity() -> str:
    """What a timing depends on: the kernels' version, or "off", also without a compiler. Nothing is compiled."""
    return library.expected_version() or "off" if choice() == "auto" else "off"


def facts() -> dict[str, str]:
    """The setting, and the library or why there is none, for metadata."""
    if choice() == "off":
        return {"setting": "off"}
    loaded = library.load()
    return {"setting": "auto", "library": loaded.version} if are_ready() else {"setting": "auto", "none": loaded.reason}


@contextlib.contextmanager
def counted() -> Iterator[Counter[str]]:
    """How often each kernel runs within the context: filled in at its end."""
    before, found = Counter(library.CALLS), Counter[str]()
    try:
        yield found
    finally:
        found.update(Counter(library.CALLS) - before)
