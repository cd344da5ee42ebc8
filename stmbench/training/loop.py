"""The loop: steps, epochs, evaluations, savings; it resumes from a state as if it had never stopped.

Nothing random outlives a step: each step and each image seeds what it draws from with its place in the run.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from typing import Any, cast

import torch
from timm.utils.clip_grad import dispatch_clip_grad
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from stmbench.architectures.catalog import ModelName, create_model
from stmbench.architectures.given_models import is_given
from stmbench.data.preprocessing import Preprocessing
from stmbench.errors import ConfigError, UnitError
from stmbench.training.batch_norm import synchronised
from stmbench.training.data import TrainingData
from stmbench.training.distributed import ProcessGroup
from stmbench.training.images import grouped, training_batches
from stmbench.training.optimisation import loss_of, mixup_of, optimizer_of, schedule_of
from stmbench.training.progress import Epoch, Record, require_finite, words
from stmbench.training.settings import TrainingSettings, seed_at
from stmbench.training.validation import Evaluator, Score


def built(settings: TrainingSettings, num_classes: int) -> nn.Module:
    """The model with weights of the seed; a module given as an object keeps its own weights and classes.

    Raises:
        ConfigError: a model that cannot recompute its blocks, or whose classifier is not known, and that was asked to.
    """
    recipe = settings.recipe
    options: dict[str, Any] = {} if is_given(settings.model) else {"num_classes": num_classes}
    if recipe.drop_path is not None:
        options["drop_path_rate"] = recipe.drop_path
    seed_at(settings.seed)
    model = create_model(settings.model, **options)
    if settings.grad_checkpointing:
        if not hasattr(model, "set_grad_checkpointing"):
            raise ConfigError("a model that can recompute its blocks", settings.model, "leave --grad-checkpointing out")
        cast(Any, model).set_grad_checkpointing()
    if recipe.dropout:
        if not hasattr(model, "get_classifier"):
            raise ConfigError("a model with get_classifier(), for dropout", settings.model, "use --set dropout=0")
        _drop_before(cast(Any, model).get_classifier(), recipe.dropout)
    return model


def wrapped(model: nn.Module, settings: TrainingSettings, group: ProcessGroup) -> nn.Module:
    """What the forward pass of a step goes through: gradients shared by the processes, compiled where asked for."""
    found = model
    if group.size > 1:
        on_gpu = group.device.type == "cuda"
        found = DistributedDataParallel(found, device_ids=[group.device.index] if on_gpu else None)
    return cast(nn.Module, torch.compile(found)) if settings.compile else found


def _drop_before(classifier: nn.Module, rate: float) -> None:
    """Dropout of the pooled features, for any model: few have an option for it."""
    drop = nn.Dropout(rate)

    def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (drop.train(module.training)(inputs[0]), *inputs[1:])

    classifier.register_forward_pre_hook(before)


LOOK_EVERY = 50  # steps between two looks at the losses: each look waits for the device
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
_STEPS = 2  # sets the random numbers of steps apart from those of images

Keep = Callable[["Loop", str], None]  # what is reached: 'time', 'epoch', 'best', 'end'


class Loop:
    """One run of one model in one process of `group`.

    Args:
        keep: called in the first process where something is to be saved.
        tell: (text, share done, seconds left) -> None.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        data: TrainingData,
        group: ProcessGroup,
        *,
        keep: Keep,
        tell: Callable[[str, float, float | None], None],
    ) -> None:
        self.settings, self.data, self.group, self._keep, self._tell = settings, data, group, keep, tell
        recipe = settings.recipe
        self.dtype = torch.float64 if settings.dtype == "fp64" else torch.float32
        self.autocast = AUTOCAST.get(settings.dtype)
        self.model = synchronised(built(settings, data.num_classes), group).to(group.device, self.dtype)
        if settings.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
        self.preprocessing = Preprocessing.of(self.model, settings.resolution)
        self.mixer = ModelName.parse(settings.model).mixer
        self.optimizer = optimizer_of(self.model, recipe, self.mixer)
        self.average = None if recipe.ema is None else ModelEmaV3(self.model, decay=recipe.ema, use_warmup=True)
        self.scaler = torch.amp.GradScaler(group.device.type, enabled=settings.dtype == "fp16")
        self.places, self.batches = training_batches(settings, data, self.preprocessing, group)
        self.schedule = schedule_of(self.optimizer, recipe, self.places.steps)
        self._mixup, self._loss = mixup_of(recipe, data.num_classes), loss_of(recipe)
        self._wrapped = wrapped(self.model, settings, group)
        test_batch = max(32, recipe.batch_size // group.size // settings.accumulate)
        self._judge = Evaluator(
            data.test,
            self.preprocessing,
            group,
            batch=test_batch,
            workers=settings.workers,
            limit=settings.limit_corrupt,
        )
        self.record = Record()

    @property
    def steps(self) -> int:
        """Of the whole run."""
        return self.places.steps * self.settings.recipe.epochs

    @property
    def result(self) -> nn.Module:
        """The model that the recipe asks for: the average where it keeps one."""
        return self.model if self.average is None else self.average.module

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the run is a function of."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.module.state_dict(),
            "scaler": self.scaler.state_dict(),
            "record": self.record.plain(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Resume from a state."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.module.load_state_dict(state["average"])
        self.scaler.load_state_dict(state["scaler"])
        self.record = Record.of(state["record"])

    def run(self) -> Record:
        """Train to the end.

        Raises:
            UnitError: a loss or a weight that is not finite, with the step and the learning rate; more damaged images
                than allowed. OutputError: a checkpoint that cannot be written.
        """
        self._began, self._begun_at = time.monotonic(), len(self.record.losses)
        while self.record.epoch < self.settings.recipe.epochs:
            self._epoch()
        self._reach("end")
        return self.record

    def _epoch(self) -> None:
        record, places = self.record, self.places
        places.epoch, places.start = record.epoch, record.within
        self._wrapped.train()
        waiting, broken = list[Tensor](), 0
        began = time.monotonic()
        for images, labels, damaged in grouped(self.batches, self.settings.accumulate):
            waiting.append(self._step(images, labels))
            broken += damaged
            record.within += 1
            if len(waiting) == LOOK_EVERY or record.within == places.steps:
                self._look(waiting, broken)
                waiting, broken = [], 0
                record.seconds += time.monotonic() - began
                if record.within < places.steps:
                    self._reach("time")
                began = time.monotonic()
        self._end_epoch()

    def _step(self, images: list[Tensor], labels: list[Tensor]) -> Tensor:
        """One step of the optimiser; its mean loss, on the device."""
        record, recipe = self.record, self.settings.recipe
        number = record.epoch * self.places.steps + record.within
        self.schedule.step_update(number)
        record.rates.append(float(self.optimizer.param_groups[0]["lr"]))
        seed_at(self.settings.seed, _STEPS, number, self.group.rank)
        total = torch.zeros((), device=self.group.device, dtype=torch.float64)
        for turn, (x, y) in enumerate(zip(images, labels, strict=True)):
            last = turn == len(images) - 1
            alone = isinstance(self._wrapped, DistributedDataParallel) and not last
            with self._wrapped.no_sync() if alone else contextlib.nullcontext():  # type: ignore[operator]
                loss = self._forward(x, y) / len(images)
                self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total += loss.detach().double()
        if recipe.clip_grad is not None:
            self.scaler.unscale_(self.optimizer)
            dispatch_clip_grad(self.model.parameters(), recipe.clip_grad)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.model, step=number)
        return total

    def _forward(self, x: Tensor, y: Tensor) -> Tensor:
        device = self.group.device
        x = x.to(device, self.dtype, non_blocking=True)
        y = y.to(device, non_blocking=True)
        if self.settings.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        if self._mixup is not None:
            x, y = self._mixup(x, y)
        with torch.autocast(device.type, self.autocast, enabled=self.autocast is not None):
            found: Tensor = self._loss(self._wrapped(x), y)
        return found

    def _look(self, waiting: list[Tensor], damaged: int) -> None:
        """Take in the last steps, in every process alike, and stop where something is not finite."""
        record, size = self.record, self.group.size
        broken = torch.tensor([damaged], device=self.group.device, dtype=torch.float64)
        *losses, total = self.group.sum(torch.cat([torch.stack(waiting), broken])).tolist()
        for loss in losses:
            step = len(record.losses)
            require_finite(loss / size, "the loss", self._place(step))
            record.losses.append(loss / size)
        finite = torch.stack([parameter.detach().isfinite().all() for parameter in self.model.parameters()])
        require_finite(1.0 if finite.all() else math.nan, "a weight", self._place(len(record.losses) - 1))
        record.damaged += round(total)
        if record.damaged > self.settings.limit_corrupt:
            raise UnitError(f"more than {self.settings.limit_corrupt} images could not be read (--limit-corrupt)")
        done = len(record.losses)
        speed = (time.monotonic() - self._began) / max(1, done - self._begun_at)
        self._tell(words(self.settings, record), done / self.steps, speed * (self.steps - done))

    def _end_epoch(self) -> None:
        record, steps = self.record, self.places.steps
        began = time.monotonic()
        score = self._score(self.result)
        raw = None if self.average is None else self._score(self.model).accuracy
        record.epochs.append(
            Epoch(
                epoch=record.epoch,
                step=len(record.losses),
                loss=math.fsum(record.losses[-steps:]) / steps,
                learning_rate=record.rates[-1],
                images=steps * self.settings.recipe.batch_size,
                seconds=record.seconds,
                accuracy=score.accuracy,
                test_loss=score.loss,
                test_images=score.count,
                accuracy_raw=raw,
            )
        )
        record.total_seconds += record.seconds + time.monotonic() - began
        record.epoch, record.within, record.seconds, record.damaged = record.epoch + 1, 0, 0.0, 0
        is_best = score.accuracy > record.best
        record.best = max(record.best, score.accuracy)
        if is_best:
            self._reach("best")
        self._reach("epoch")

    def _reach(self, what: str) -> None:
        """Save what has to be saved now. Where that fails, it fails in every process."""
        self.group.guarded(lambda: self._keep(self, what) if self.group.is_first else None)

    def _score(self, model: nn.Module) -> Score:
        found = self._judge.score(model, self.dtype, self.autocast)
        require_finite(found.loss, "the test loss", self._place(len(self.record.losses) - 1))
        return found

    def _place(self, step: int) -> str:
        """Where in the run a step is, for a message."""
        return f"step {step} (epoch {step // self.places.steps + 1}), learning rate {self.record.rates[step]:.3g}"
