"""What several mixers share.

attention   self-attention over all tokens, its projection and heads; CONTAINER's alpha and beta, fixed or learned;
            a bias from an MLP of displacements
windows     non-overlapping windows: padding, splitting, positions, fused attention within them
bilinear    weighted bilinear samples of a map
reparameterised  layers that are trained with BatchNorm, in branches, and deployed as one
token_sums  sums over all tokens with a learned N x N matrix
neighbourhood_sums  sums over the taps of a K x K neighbourhood
depthwise   depthwise convolutions, fast on a CPU
fourier     Fourier transforms over the map
scan        linear recurrences along a sequence, the selective scan of state space models
determinism reasons why gradients differ from run to run on CUDA
stages      options that have a value for each stage
patch_conv  convolutions whose weights outnumber what they are applied to
contextual  the parts of contextual (CoT) blocks: static context, local weights, split attention

`cached_table` keeps tables that are a function of sizes, dtype and device: made once, and part of the graph when
compiled. `is_eager_on_cpu`, `needs_gradient`, `is_unchanged`, `are_single` and `takes_single` say where other kernels
may be used, `in_place_of` runs one that does a module's work, `without_autocast` keeps sums in float32.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, ParamSpec, cast

import torch
from torch import Tensor, nn

from stmbench.kernels.setting import can_run_in, is_dense, is_intercepted

KEPT = 32  # tables of each function
LAYERS = (nn.Linear, nn.Conv2d, nn.LayerNorm, nn.GroupNorm, nn.BatchNorm2d, nn.ReLU)
METHODS = ("forward", "_conv_forward")  # that say what a module does
# PyTorch's, from the beginning
WRITTEN = {(kind, name): vars(kind).get(name) for layer in LAYERS for kind in layer.__mro__ for name in METHODS}
_MET: dict[Any, tuple[tuple[Any, str, Any], ...]] = {}  # others, and what they come from, as they were when first met

P = ParamSpec("P")
_TABLES: list[dict[Hashable, Tensor]] = []


def without_autocast(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Operations keep the dtype of their inputs; also on devices that have no autocast (meta)."""
    # what is compiled runs on a device that has it, and PyTorch 2.5 would break the graph to ask
    if not torch.compiler.is_compiling() and not torch.amp.is_autocast_available(device.type):
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)


def cached_table(make: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Keep what `make` returns for each set of arguments, which must be hashable.

    While a graph is compiled nothing is kept: the table is traced like the rest of the forward pass, since a look into
    a cache would break the graph. Fake tensors are not kept either. A trace, by which operations are counted, does not
    see how the table is made, whether or not it was there before.
    """
    kept: dict[Hashable, Tensor] = {}
    _TABLES.append(kept)

    @functools.wraps(make)
    def table(*arguments: P.args, **named: P.kwargs) -> Tensor:
        if torch.compiler.is_compiling():
            return make(*arguments, **named)
        if torch.jit.is_tracing():  # type: ignore[attr-defined,no-untyped-call,unused-ignore]
            with _untraced():
                return table(*map(_number, arguments), **{name: _number(value) for name, value in named.items()})
        key = (arguments, *named.items())
        tensor = kept.get(key)
        if tensor is None:
            # made outside of inference mode, whose tensors autograd would refuse in a later call
            with torch.inference_mode(False), torch.no_grad():
                tensor = make(*arguments, **named)
            if type(tensor) is Tensor:
                kept[key] = tensor
                if len(kept) > KEPT:
                    kept.pop(next(iter(kept)), None)  # the oldest
        return tensor

    return table


def _number(argument: Any) -> Any:
    """The argument, and a side of a map, which is a tensor in a trace, as a number; also within a tuple."""
    if isinstance(argument, tuple):
        return tuple(map(_number, argument))
    return argument.item() if isinstance(argument, Tensor) else argument


@contextlib.contextmanager
def _untraced() -> Iterator[None]:
    """Operations that are in no trace."""
    state = torch._C._get_tracing_state()
    torch._C._set_tracing_state(None)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch._C._set_tracing_state(state)  # type: ignore[attr-defined]


def forget_tables() -> None:
    """Drop all tables that are kept; they are made again when they are needed."""
    for kept in _TABLES:
        kept.clear()


def is_eager_on_cpu(tensor: Tensor) -> bool:
    """Whether an operation runs now and on a CPU: in no compiled graph or function transform, and in no trace, which is
    for counting or export and shows the plain form."""
    return (
        isinstance(tensor, Tensor)  # and not what torch.fx traces with
        and tensor.device.type == "cpu"
        and not is_intercepted()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call,unused-ignore]
        and not torch.compiler.is_compiling()
    )


def needs_gradient(*tensors: Tensor) -> bool:
    """Whether the backward pass will go through an operation on these tensors."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def takes_single(*tensors: Tensor) -> bool:
    """Whether kernels of float32 that have no gradient take these: plain tensors, none of which asks for one."""
    return are_single(*tensors) and not needs_gradient(*tensors)


def are_single(*tensors: Tensor) -> bool:
    """Whether kernels of float32 that have a gradient take these: plain tensors."""
    are_plain = all(type(tensor) in (Tensor, nn.Parameter) and is_dense(tensor) for tensor in tensors)
    return are_plain and tensors[0].dtype == torch.float32 and can_run_in(*tensors)


def is_unchanged(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether calling a module does what its class says and nothing else: it is a `kind`, of no subclass, and nobody
    gave it another forward, compiled it, or watches it, other than by stamps."""
    groups = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    hooks = [hook for group in groups for hook in group.values()]
    is_global = torch.nn.modules.module._has_any_global_hook()  # type: ignore[no-untyped-call]
    is_watched = is_global or any(not isinstance(hook, Stamp) for hook in hooks)
    is_own = has_its_methods(module, kind) and module._compiled_call_impl is None
    return is_own and not is_watched


def has_its_methods(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a module is a `kind`, of no subclass, and nobody replaced a method of it, or what its class does."""
    if type(module) is not kind or vars(module).keys() & _methods(cast(Hashable, kind)):
        return False
    return is_as_written(kind)


def is_as_written(kind: type[nn.Module]) -> bool:
    """Whether a class and those it comes from do what their source says: nobody gave them another forward."""
    methods = _MET.get(kind)
    if methods is None:
        each_of = ((each, name) for each in kind.__mro__ for name in METHODS if name in vars(each))
        methods = tuple((each, name, vars(each)[name]) for each, name in each_of)
        if not all(itertools.starmap(_is_own, methods)):
            return False
        _MET[kind] = methods
    return all(each.__dict__.get(name) is method for each, name, method in methods)


def _is_own(kind: Any, name: str, method: Any) -> bool:
    """Whether a method is the class's own, by what is known of PyTorch's, and by the name that its source gave it."""
    if (kind, name) in WRITTEN:
        return WRITTEN[kind, name] is method
    return bool(getattr(method, "__qualname__", "") == f"{kind.__qualname__}.{name}")


@functools.cache
def _methods(kind: Any) -> frozenset[str]:
    return frozenset(name for name in dir(kind) if callable(getattr(kind, name)))


@dataclasses.dataclass(frozen=True)
class Stamp:
    """A hook that notes that a module begins or ends, and neither sees nor changes a value: kernels run in spite of it.

    A module whose work a kernel does with its neighbours' is never called, and nothing is noted, unless the kernel is
    called by `in_place_of`.
    """

    note: Callable[[], None]

    def __call__(self, *_: object) -> None:
        self.note()


def in_place_of(module: nn.Module, work: Callable[[], Tensor]) -> Tensor:
    """What `work` gives, between the stamps at the beginning and at the end of a module that `is_unchanged`."""
    for begins in module._forward_pre_hooks.values():
        begins(module, ())
    output = work()
    for ends in module._forward_hooks.values():
        ends(module, (), output)
    return output


def renamed(state: Mapping[str, Tensor], prefixes: Mapping[str, str]) -> dict[str, Tensor]:
    """A state dict with each of the prefixes replaced, and with kernels of 1 x 1 convolutions as linear layers'."""
    named = {}
    for key, value in state.items():
        prefix = next((prefix for prefix in prefixes if key.startswith(prefix)), "")
        is_linear = value.ndim == 4 and value.shape[2:] == (1, 1) and value.shape[1] > 1  # not a depthwise one
        named[prefixes.get(prefix, "") + key.removeprefix(prefix)] = value.flatten(1) if is_linear else value
    return named
