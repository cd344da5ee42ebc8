"""The operations that change a map's size on the way to each stage, seen as they run.

They are taken from the dispatcher, below modules and functions: a mixer or a stem may call its convolution in any way.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from stmbench.analyses.erf.stages import Stage, stage_maps

Pair = tuple[int, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Strided:
    """One convolution, pooling or padding that changes a map's size from `before` to `after`; all by axis (y, x)."""

    before: Pair
    after: Pair
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)


def probe(model: nn.Module, stages: Sequence[Stage], image: Tensor) -> tuple[list[Tensor], list[list[Strided]]]:
    """The stages' maps of one image (1, 3, H, W), and what changes sizes before each of them, without gradients."""
    recorder = _Recorder()

    def next_stage(*_: Any) -> None:
        recorder.calls.append([])

    handles = [model.get_submodule(stage.module).register_forward_hook(next_stage) for stage in stages]
    try:
        with torch.no_grad(), recorder:
            maps = stage_maps(model, stages, image)
    finally:
        for handle in handles:
            handle.remove()
    return maps, recorder.calls[: len(stages)]


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call,unused-ignore]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call,unused-ignore]
        self.calls: list[list[Strided]] = [[]]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in READERS and isinstance(args[0], Tensor) and args[0].ndim == 4:
            output = found if isinstance(found, Tensor) else found[0]
            before, after = _pair(args[0].shape[-2:]), _pair(output.shape[-2:])
            if before != after:
                self.calls[-1].append(Strided(before=before, after=after, **READERS[name](args)))
        return found


def _convolution(args: Any) -> dict[str, Pair]:
    weight, stride, padding, dilation = args[1], args[3], args[4], args[5]
    return {"kernel": tuple(weight.shape[-2:]), "stride": _pair(stride), "padding": _pair(padding),
            "dilation": _pair(dilation)}  # fmt: skip


def _pooling(args: Any) -> dict[str, Pair]:
    kernel = _pair(args[1])
    stride = _pair(args[2]) if len(args) > 2 and args[2] else kernel
    padding = _pair(args[3]) if len(args) > 3 else (0, 0)
    return {"kernel": kernel, "stride": stride, "padding": padding}


def _padding(args: Any) -> dict[str, Pair]:
    left, _, top, _ = (*args[1], 0, 0, 0, 0)[:4]
    return {"kernel": (1, 1), "padding": (top, left)}


def _pair(value: Sequence[int]) -> Pair:
    return (int(value[0]), int(value[-1]))


READERS = {
    "convolution": _convolution,
    "max_pool2d_with_indices": _pooling,
    "max_pool2d": _pooling,
    "avg_pool2d": _pooling,
    "constant_pad_nd": _padding,
    "reflection_pad2d": _padding,
    "replication_pad2d": _padding,
}
