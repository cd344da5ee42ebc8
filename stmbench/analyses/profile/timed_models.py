"""What is timed: a model, or one of its mixers alone, with its input, as a function without arguments."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from stmbench.analyses.models import DTYPES, build_model, meta_model, require_support
from stmbench.analyses.profile.inputs import images, pixels, targets
from stmbench.architectures.catalog import ModelName
from stmbench.architectures.detectors.base import padded, set_sides
from stmbench.architectures.detectors.pyramid import Described
from stmbench.errors import UnitError
from stmbench.measure.backend_settings import AUTOCAST, Compilation, compiled

NUM_CLASSES = 1000
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
        loss_of: the loss of the batch, from a forward pass.
        module: whose parameters are updated; fp32.
        device: the module's.
        dtype: of the products, as in `train --dtype`.
    """

    def __init__(self, loss_of: Callable[[], Tensor], module: nn.Module, device: str, dtype: str) -> None:
        self._loss_of, self._device, self._dtype = loss_of, device, dtype
        self._optimizer = torch.optim.AdamW(module.parameters(), lr=0.0)
        self._scaler = torch.amp.GradScaler(torch.device(device).type, enabled=dtype == "fp16")
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
        with autocast(self._device, self._dtype):
            self._loss = self._loss_of()

    def _backward(self) -> None:
        assert self._loss is not None
        self._scaler.scale(self._loss).backward()  # type: ignore[no-untyped-call]
        self._loss = None

    def _update(self) -> None:
        self._scaler.step(self._optimizer)
        self._scaler.update()


def loss_of(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Callable[[], Tensor]:
    """The loss of a forward pass: cross-entropy of class scores, the sum of a detector's losses, or for a mixer, which
    has neither, the mean square."""
    first = arguments[0]
    target = torch.arange(len(first), device=first[0].device) % NUM_CLASSES

    def loss() -> Tensor:
        output = function(*arguments)
        if isinstance(output, dict):
            return torch.stack([part.float() for part in output.values()]).sum()
        output = output.float()
        if output.ndim == 2:
            return nn.functional.cross_entropy(output, target % output.shape[1])
        return cast(Tensor, output.square().mean())

    return loss


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
    def is_detector(self) -> bool:
        """Whether the subject is a whole detector."""
        return self.stage is None and ModelName.parse(self.model).detector is not None

    @property
    def weights_dtype(self) -> str:
        """Of weights and input: training and detectors keep them in fp32, and compute in `dtype` by autocast."""
        return "fp32" if self.train or self.is_detector else self.dtype

    def precision(self) -> contextlib.AbstractContextManager[Any]:
        """What a forward pass runs in."""
        return contextlib.nullcontext() if self.weights_dtype == self.dtype else autocast(self.device, self.dtype)


class TimedModel:
    """A built subject. `run(batch)` gives the function that does the work once: a forward pass, or a training step."""

    def __init__(self, spec: TimedModelSpec) -> None:
        self.spec = spec
        require_support(spec.model, device=spec.device, dtype=spec.dtype)
        self.model = build_model(
            spec.model,
            seed=spec.seed,
            device=spec.device,
            dtype=spec.weights_dtype,
            channels_last=spec.channels_last,
            train=spec.train,
        )
        if isinstance(self.model, Described):
            set_sides(self.model, spec.resolution)
        self.module: nn.Module = self.model if spec.stage is None else first_mixer(self.model, spec.stage)
        self._map = None if spec.stage is None else map_shape(self.model, self.module, spec.resolution)
        # the two batch sizes that are timed deserve a graph each, not one for any size
        self._callable: Callable[..., Any] = compiled(self.module) if spec.compile else self.module
        self._graphs: set[int] = set()  # batch sizes

    def run(self, batch: int, *, eager: bool = False) -> Callable[[], object]:
        """The work on one batch of that size, as a function; its input is made here, outside of any timing.

        Args:
            eager: leave the compiler out.
        """
        arguments = self.arguments(batch)
        function = self.module if eager else self._callable
        if self.spec.train:
            return TrainStep(loss_of(function, arguments), self.module, self.spec.device, self.spec.dtype)

        def forward() -> object:
            with torch.inference_mode(), self.spec.precision():
                return function(*arguments)

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

    def arguments(self, batch: int) -> tuple[Any, ...]:
        """What the subject is called with: `input`, or for a detector a list of `batch` images (3, H, W), and in
        training the list of their targets."""
        spec = self.spec
        if not spec.is_detector:
            return (self.input(batch),)
        generator, detector = torch.Generator().manual_seed(spec.seed), cast(Any, self.model)
        shown = list(pixels(spec.images, batch, spec.resolution, generator).to(spec.device))
        if not spec.train:
            return (shown,)
        wanted = {"classes": detector.num_classes, "masks": detector.has_masks, "generator": generator}
        return shown, [
            {name: x.to(spec.device) if isinstance(x, Tensor) else x for name, x in target.items()}
            for target in targets(batch, spec.resolution, **wanted)
        ]

    def input(self, batch: int) -> Tensor:
        """(batch, 3, H, W) images, or for a mixer (batch, H', W', C) noise of its own map's shape."""
        spec = self.spec
        generator = torch.Generator().manual_seed(spec.seed)
        if self._map is not None:
            noise = torch.randn((batch, *self._map), generator=generator)
            return noise.to(spec.device, DTYPES[spec.weights_dtype])
        data = images(spec.images, batch, spec.resolution, generator).to(spec.device, DTYPES[spec.weights_dtype])
        return data.contiguous(memory_format=torch.channels_last) if spec.channels_last else data


def first_mixer(model: nn.Module, stage: int) -> nn.Module:
    """The mixer at the first site of a stage. Raises UnitError for a model that does not name its mixers."""
    for site, _, mixer in mixers_of(model):
        if site.stage == stage:
            return mixer
    raise UnitError(f"the model has no mixer in stage {stage}")


def mixers_of(model: nn.Module) -> list[tuple[Any, str, nn.Module]]:
    """`model.mixers()`: (site, dotted path, module). Raises UnitError for a model that has no such method."""
    method = getattr(model.trunk if isinstance(model, Described) else model, "mixers", None)
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

    if isinstance(model, Described):
        model, resolution = model.backbone, padded(*resolution)
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
    if spec.is_detector:
        meta_model(spec.model)  # imports what detectors alone need
    return lambda: TimedModel(spec).run(arguments["batch"])
