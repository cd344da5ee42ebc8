"""What is timed: a model, or one of its mixers alone, with its input, as a function without arguments."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stmbench.analyses.models import DTYPES, build_model
from stmbench.data.embedded import photos
from stmbench.errors import UnitError
from stmbench.measure.backend_settings import Compilation, compiled

NUM_CLASSES = 1000
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
MOST_HALVINGS = 24  # of the loss's scale, from 2^16 down


def autocast(device: str, dtype: str) -> contextlib.AbstractContextManager[Any]:
    """What a forward pass of `train` runs in; nothing at all in fp32."""
    chosen = AUTOCAST.get(dtype)
    return torch.autocast(torch.device(device).type, chosen, enabled=chosen is not None)


class TrainStep:
    """Forward, backward and AdamW step on one batch. The learning rate is 0: the same work, the same weights after.

    The first call repeats the step until the loss's scale fits: a step whose gradients overflow is skipped, and has
    neither the time nor the memory of one that is not.

    Args:
        function: the module, or what was compiled from it.
        module: whose parameters are updated; fp32.
        data: (B, ...) fp32 on the module's device.
        dtype: of the products, as in `train --dtype`.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], module: nn.Module, data: Tensor, dtype: str) -> None:
        self._function, self._data, self._dtype = function, data, dtype
        self._optimizer = torch.optim.AdamW(module.parameters(), lr=0.0)
        self._scaler = torch.amp.GradScaler(data.device.type, enabled=dtype == "fp16")
        self._target = torch.arange(len(data), device=data.device) % NUM_CLASSES
        self._loss: Tensor | None = None
        self._is_settled = False

    def __call__(self) -> None:
        if self._is_settled:
            return self._step()
        for _ in range(MOST_HALVINGS):
            scale = self._scaler.get_scale()
            self._step()
            if self._scaler.get_scale() >= scale:
                break
        self._is_settled = True
        return None

    def phases(self) -> Mapping[str, Callable[[], object]]:
        """The three phases by name, in order."""
        return {"forward": self._forward, "backward": self._backward, "optimizer": self._update}

    def _step(self) -> None:
        for phase in self.phases().values():
            phase()

    def _forward(self) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        with autocast(str(self._data.device), self._dtype):
            output = self._function(self._data).float()
            if output.ndim == 2:
                self._loss = nn.functional.cross_entropy(output, self._target % output.shape[1])
            else:
                self._loss = output.square().mean()  # a mixer has no classes

    def _backward(self) -> None:
        assert self._loss is not None
        self._scaler.scale(self._loss).backward()  # type: ignore[no-untyped-call]
        self._loss = None

    def _update(self) -> None:
        self._scaler.step(self._optimizer)
        self._scaler.update()


@dataclasses.dataclass(frozen=True, kw_only=True)
class TimedModelSpec:
    """Everything that building a subject depends on; plain values, so that it can travel to a child process.

    `stage` None is the whole model, else the mixer at that stage's first site.
    """

    model: str
    stage: int | None = None
    train: bool = False
    resolution: tuple[int, int]
    dtype: str = "fp32"
    compile: bool = False
    channels_last: bool = False
    device: str = "cpu"
    seed: int = 0
    images: str = "noise"

    @property
    def weights_dtype(self) -> str:
        """Of weights and input: training keeps them in fp32, and computes in `dtype` by autocast."""
        return "fp32" if self.train else self.dtype


class TimedModel:
    """A built subject. `run(batch)` gives the function that does the work once: a forward pass, or a training step."""

    def __init__(self, spec: TimedModelSpec) -> None:
        self.spec = spec
        self.model = build_model(
            spec.model,
            seed=spec.seed,
            device=spec.device,
            dtype=spec.weights_dtype,
            channels_last=spec.channels_last,
            train=spec.train,
        )
        self.module: nn.Module = self.model if spec.stage is None else first_mixer(self.model, spec.stage)
        self._map = None if spec.stage is None else map_shape(self.model, self.module, spec.resolution)
        # the two batch sizes that are timed deserve a graph each, not one for any size
        self._callable: Callable[[Tensor], Tensor] = compiled(self.module) if spec.compile else self.module
        self._graphs: set[int] = set()  # batch sizes

    def run(self, batch: int, *, eager: bool = False) -> Callable[[], object]:
        """The work on one batch of that size, as a function; its input is made here, outside of any timing.

        Args:
            eager: leave the compiler out.
        """
        data = self.input(batch)
        function = self.module if eager else self._callable
        if self.spec.train:
            return TrainStep(function, self.module, data, self.spec.dtype)

        def forward() -> Tensor:
            with torch.inference_mode():
                return function(data)

        return forward

    def compile(self, batch: int, run: Callable[[], object]) -> Compilation | None:
        """Call `run` for the first time, which compiles it; None for an eager subject.

        Raises:
            UnitError: it is not one graph, so that timing it would time something else.
        """
        if not self.spec.compile:
            run()
            return None
        before = Compilation.so_far()
        with warnings.catch_warnings():
            # whether products of float32 are rounded to TF32 is the run's dtype to say
            warnings.filterwarnings("ignore", message="TensorFloat32 tensor cores")
            run()
        compilation = Compilation.so_far().since(before)
        compilation.require(0 if batch in self._graphs else 1)
        self._graphs.add(batch)
        return compilation

    def input(self, batch: int) -> Tensor:
        """(batch, 3, H, W) images, or for a mixer (batch, H', W', C) noise of its own map's shape."""
        spec = self.spec
        generator = torch.Generator().manual_seed(spec.seed)
        if self._map is not None:
            noise = torch.randn((batch, *self._map), generator=generator)
            return noise.to(spec.device, DTYPES[spec.weights_dtype])
        data = images(spec.images, batch, spec.resolution, generator).to(spec.device, DTYPES[spec.weights_dtype])
        return data.contiguous(memory_format=torch.channels_last) if spec.channels_last else data


def images(kind: str, batch: int, resolution: tuple[int, int], generator: torch.Generator) -> Tensor:
    """(batch, 3, H, W) float32: normal noise, or normalised photographs, repeated where there are too few."""
    if kind == "photos":
        photographs = _photographs(resolution)
        return photographs[torch.arange(batch) % len(photographs)]
    return torch.randn((batch, 3, *resolution), generator=generator)


@functools.lru_cache(maxsize=4)
def _photographs(resolution: tuple[int, int]) -> Tensor:
    return photos(resolution)


def first_mixer(model: nn.Module, stage: int) -> nn.Module:
    """The mixer at the first site of a stage. Raises UnitError for a model that does not name its mixers."""
    for site, _, mixer in mixers_of(model):
        if site.stage == stage:
            return mixer
    raise UnitError(f"the model has no mixer in stage {stage}")


def mixers_of(model: nn.Module) -> list[tuple[Any, str, nn.Module]]:
    """`model.mixers()`: (site, dotted path, module). Raises UnitError for a model that has no such method."""
    method = getattr(model, "mixers", None)
    if not callable(method):
        raise UnitError("the model does not name its mixers, so --level operator cannot take one out of it")
    mixers: list[tuple[Any, str, nn.Module]] = method()
    return mixers


def map_shape(model: nn.Module, mixer: nn.Module, resolution: tuple[int, int]) -> tuple[int, int, int]:
    """(H', W', C) that reaches one of the model's mixers, seen in a forward pass of images of `resolution`."""
    seen: list[tuple[int, int, int]] = []

    def see(_module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        _, height, width, channels = arguments[0].shape
        seen.append((height, width, channels))

    weight = next(model.parameters())
    handle = mixer.register_forward_pre_hook(see)
    training = model.training
    try:
        with torch.no_grad():  # in eval mode: batch statistics of one image would be refused
            model.eval()(torch.zeros(1, 3, *resolution, device=weight.device, dtype=weight.dtype))
    finally:
        handle.remove()
        model.train(training)
    return seen[0]


def prepare(arguments: Mapping[str, Any]) -> Callable[[], Callable[[], object]]:
    """For the child process that measures memory: `arguments` are `spec`, `batch` and `plugins`.

    For a module given as an object also `given`, its file, and `path`, where Python finds its class.
    """
    from stmbench.architectures.catalog import list_models
    from stmbench.plugins import load_plugins

    load_plugins(arguments["plugins"])
    list_models("*_micro")  # registers every mixer and model: imports are not the model's memory
    if "given" in arguments:
        from stmbench.architectures.given_models import load_given

        sys.path += [folder for folder in arguments["path"] if folder not in sys.path]
        load_given(Path(arguments["given"]))
    fields = dict(arguments["spec"])
    fields["resolution"] = tuple(fields["resolution"])
    spec = TimedModelSpec(**fields)
    return lambda: TimedModel(spec).run(arguments["batch"])
