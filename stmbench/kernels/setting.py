"""What STMBENCH_KERNELS asks for, whether kernels can run on given tensors, and how often each of them ran."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor

from stmbench.errors import ConfigError
from stmbench.kernels import library

CHOICES = ("auto", "all", "off")
WHOLE = (torch.float32, torch.float64)  # what kernels work in


def choice() -> str:
    """What the variable says. Raises ConfigError for a word that it does not know."""
    chosen = os.environ.get(library.VARIABLE, "auto").strip().lower() or "auto"
    if chosen not in CHOICES:
        expected = f"{library.VARIABLE} {', '.join(CHOICES[:-1])} or {CHOICES[-1]}"
        raise ConfigError(expected, repr(chosen), "set it to one of these")
    return chosen


def are_ready(device: str = "cpu") -> bool:
    """Whether the kernels of a type of device are wanted and there; the first call may compile them (seconds).

    "auto" is C++ on a CPU; "all" adds Triton on CUDA, whose speed was not measured yet.
    """
    if device == "cpu":
        return choice() != "off" and library.load().functions is not None
    return device == "cuda" and choice() == "all" and importlib.util.find_spec("triton") is not None


# what torch.compiler.assume_constant_result does, which imports the whole compiler: a graph takes the answer as it is
are_ready._dynamo_marked_constant = True  # type: ignore[attr-defined]


def can_run(*tensors: Tensor, devices: tuple[str, ...] = ("cpu",)) -> bool:
    """Whether the kernels take these tensors: all on one of `devices`, in no trace, export or dispatch mode, which show
    the plain form, and in no function transform or forward mode, which need derivatives that the kernels have not."""
    if torch.jit.is_tracing() or _is_exporting():  # type: ignore[attr-defined,no-untyped-call,unused-ignore]
        return False
    if is_intercepted():
        return False
    kind = tensors[0].device.type
    return kind in devices and all(tensor.device.type == kind for tensor in tensors) and are_ready(kind)


def can_run_in(x: Tensor, *weights: Tensor) -> bool:
    """Whether kernels of float32 and float64 take a map and its weights: all of one of these, and no autocast."""
    is_whole = x.dtype in WHOLE and all(weight.dtype == x.dtype for weight in weights)
    return is_whole and not torch.is_autocast_enabled("cpu") and can_run(x, *weights)


def is_dense(tensor: Tensor) -> bool:
    """Whether its numbers lie in memory as they are."""
    return tensor.layout == torch.strided and not tensor.is_neg() and not tensor._is_zerotensor()


def is_intercepted() -> bool:
    """Whether operations do not simply run: torch.func's vmap, grad or jvp is at work, forward mode, or a mode that is
    shown every operation, as PyTorch's own counter of FLOPs; while a graph is compiled it does not say."""
    if torch.compiler.is_compiling():
        return False
    before = torch._ops._len_torch_dispatch_stack_pre_dispatch()  # type: ignore[no-untyped-call]
    is_shown = before + torch._C._len_torch_dispatch_stack() > 0
    is_functional = torch._C._functorch.peek_interpreter_stack() is not None
    return is_shown or is_functional or torch.autograd.forward_ad._current_level >= 0 or _is_function_mode()


def _is_function_mode() -> bool:
    """Whether a mode replaces functions of PyTorch, other than the one that sets the device of new tensors."""
    if not torch._C._len_torch_function_stack():
        return False
    modes = torch.overrides._get_current_function_mode_stack()  # type: ignore[no-untyped-call]
    return any(type(mode).__name__ != "DeviceContext" for mode in modes)


def _is_exporting() -> bool:
    is_exporting = getattr(torch.compiler, "is_exporting", None)  # since torch 2.7
    return is_exporting is not None and bool(is_exporting())


def identity() -> str:
    """What a timing depends on: the kernels' version, or "off", also without a compiler. Nothing is compiled."""
    chosen, version = choice(), library.expected_version() or "off"
    return {"auto": version, "all": f"{version}, triton", "off": "off"}[chosen]


def facts() -> dict[str, str]:
    """The setting, and the library or why there is none, for metadata."""
    chosen = choice()
    if chosen == "off":
        return {"setting": chosen}
    loaded = library.load()
    return {"setting": chosen, "library": loaded.version} if are_ready() else {"setting": chosen, "none": loaded.reason}


@contextlib.contextmanager
def counted() -> Iterator[Counter[str]]:
    """How often each kernel runs within the context: filled in at its end."""
    before, found = Counter(library.CALLS), Counter[str]()
    try:
        yield found
    finally:
        found.update(Counter(library.CALLS) - before)
