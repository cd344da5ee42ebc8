"""Where on the input a unit's centre lies: it follows from kernel, stride and padding of what is before it.

A convolution's output j is centred on input position j * stride + dilation * (kernel - 1) / 2 - padding (Dumoulin and
Visin 2016, relationship 14). Composed, unit i of a stage is centred on the pixel a * i + b; with 3x3 kernels of stride
2 and padding 1 throughout b is 0, with non-overlapping patches of P pixels it is (P - 1) / 2.

Where a map is so small that those kernels reach into the padding, a unit is centred on the part of the image that they
do reach: the only unit of a 1x1 map is centred on the middle of the image, not on its corner.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from stmbench.analyses.stages import Stage, stage_maps

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

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: nothing is compiled here, and to skip torch's compiler torch would import it, which takes seconds."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in READERS and isinstance(args[0], Tensor) and args[0].ndim == 4:
            output = result if isinstance(result, Tensor) else result[0]
            before, after = _pair(args[0].shape[-2:]), _pair(output.shape[-2:])
            if before != after:
                self.calls[-1].append(Strided(before=before, after=after, **READERS[name](args)))
        return result


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


Point = tuple[float, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
    """Unit (i, j) of a map is centred on pixel (step_y i + start_y, step_x j + start_x); pixel centres are integers.

    `assumed` is True where no strided operation was seen for a change of size, and patches that do not overlap were
    supposed.
    """

    size: tuple[int, int]
    step: Point = (1.0, 1.0)
    start: Point = (0.0, 0.0)
    assumed: bool = False
    path: tuple[Strided, ...] = ()  # what leads from the image to this map

    @property
    def unit(self) -> tuple[int, int]:
        """The central unit, (H // 2, W // 2)."""
        return self.size[0] // 2, self.size[1] // 2

    @property
    def centre(self) -> Point:
        """Its centre in pixels: the middle of what the path's kernels reach of the image."""
        return self._centre(0), self._centre(1)

    def _centre(self, axis: int) -> float:
        low = high = self.unit[axis]
        for call in reversed(self.path):
            end, stride, padding = call.before[axis] - 1, call.stride[axis], call.padding[axis]
            reach = call.dilation[axis] * (call.kernel[axis] - 1)
            low, high = (min(max(i, 0), end) for i in (low * stride - padding, high * stride - padding + reach))
        return (low + high) / 2 if self.path else self.step[axis] * low + self.start[axis]


def grids(image: tuple[int, int], sizes: Sequence[tuple[int, int]], calls: Sequence[Sequence[Strided]]) -> list[Grid]:
    """The grid of each stage.

    Args:
        image: (H, W) of the input.
        sizes: (H, W) of each stage's map.
        calls: the strided calls between the stage before and this one.
    """
    located, grid = [], Grid(size=image)
    for size, between in zip(sizes, calls, strict=True):
        grid = _through(grid, size, between)
        located.append(grid)
    return located


def _through(grid: Grid, goal: tuple[int, int], calls: Sequence[Strided]) -> Grid:
    """Follow the calls that lead from the grid's size to `goal`; calls of side branches lead elsewhere."""
    while grid.size != goal:
        steps = [
            call for call in calls if call.before == grid.size and call.after[0] >= goal[0] and call.after[1] >= goal[1]
        ]  # a reduction inside a mixer ends below the goal
        if not steps:
            return _patches(grid, goal)
        # of two branches of one block (a 3x3 convolution and its 1x1 shortcut) the wider looks at what the unit sees
        step = max(steps, key=lambda call: call.kernel)
        grid = _after(grid, step)
    return grid


def _after(grid: Grid, call: Strided) -> Grid:
    shift = [
        d * (k - 1) / 2 - p for d, k, p in zip(call.dilation, call.kernel, call.padding, strict=True)
    ]  # of output 0 against input 0
    return Grid(
        size=call.after,
        step=(grid.step[0] * call.stride[0], grid.step[1] * call.stride[1]),
        start=(grid.start[0] + grid.step[0] * shift[0], grid.start[1] + grid.step[1] * shift[1]),
        assumed=grid.assumed,
        path=(*grid.path, call),
    )


def _patches(grid: Grid, goal: tuple[int, int]) -> Grid:
    """Patches that do not overlap, gathered by reshaping."""
    down, across = (max(1, round(size / small)) for size, small in zip(grid.size, goal, strict=True))
    patch = down, across
    return Grid(
        size=goal,
        step=(grid.step[0] * patch[0], grid.step[1] * patch[1]),
        start=(grid.start[0] + grid.step[0] * (patch[0] - 1) / 2, grid.start[1] + grid.step[1] * (patch[1] - 1) / 2),
        assumed=True,
        path=(*grid.path, Strided(before=grid.size, after=goal, kernel=patch, stride=patch)),
    )
