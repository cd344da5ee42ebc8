"""The loop: steps, epochs, evaluations, savings; it resumes from a state as if it had never stopped.

Nothing random outlives a step: each step and each image seeds what it draws from with its place in the run.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from stmbench.architectures.catalog import ModelName
from stmbench.errors import UnitError
from stmbench.kernels.norm import norm
from stmbench.tasks.base import Score, Task, TrainingData, task_of
from stmbench.training.batch_norm import synchronised
from stmbench.training.batches import grouped, require_divisible_batch, staged, training_batches
from stmbench.training.distributed import ProcessGroup
from stmbench.training.optimisation import WeightAverage, optimizer_of, schedule_of
from stmbench.training.progress import Epoch, Record, require_finite, words
from stmbench.training.settings import TrainingSettings, seed_at


def shared(model: nn.Module, task: Task) -> nn.Module:
    """The model, whose gradients are shared by the processes where there are several.

    torch's `static_graph` fits neither a first step in several passes nor a compiled model.
    """
    group, settings = task.group, task.settings
    if group.size == 1:
        return model
    return DistributedDataParallel(
        model,
        device_ids=[group.device.index] if group.device.type == "cuda" else None,
        gradient_as_bucket_view=True,
        static_graph=task.same_graph and settings.accumulate == 1 and not settings.compile,
    )


LOOK_EVERY = 50  # steps between two looks at the losses: each look waits for the device
_STEPS = 2  # sets the random numbers of steps apart from those of images

Keep = Callable[["Loop", str], None]  # what is reached: 'time', 'epoch', 'best', 'end'


class Loop:
    """One run of one model in one process of `group`.

    Args:
        keep: called in the first process where something is to be saved.
        tell: (text, share done, seconds left) -> None.
        clock: seconds, for the record.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        data: TrainingData[Any],
        group: ProcessGroup,
        *,
        keep: Keep,
        tell: Callable[[str, float, float | None], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self.settings, self.data, self.group, self._keep, self._tell = settings, data, group, keep, tell
        recipe = settings.recipe
        require_divisible_batch(settings, group.size)
        self.task = task_of(settings)(settings, data, group)
        self.model = synchronised(self.task.build(), group).to(group.device, self.task.dtype)
        if settings.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
        self.task.prepare(self.model)
        self.mixer = ModelName.parse(settings.model).mixer
        self.optimizer = optimizer_of(self.model, recipe, self.mixer)
        self.average = None if recipe.ema is None else WeightAverage(self.model, recipe.ema)
        self.scaler = torch.amp.GradScaler(group.device.type, enabled=settings.dtype == "fp16")
        images = self.task.images()
        self.places = self.task.places(images)
        self.batches = training_batches(settings, images, self.places, group, self.task.collate)
        self.schedule = schedule_of(self.optimizer, recipe, self.places.steps)
        self._weights = [parameter.detach() for parameter in self.model.parameters() if parameter.numel()]
        self._shared = shared(self.model, self.task)
        self._forward = self.task.compiled(self._shared) if settings.compile else self._shared
        self.record = Record()

    @property
    def steps(self) -> int:
        """Of the whole run."""
        return int(self.places.steps) * self.settings.recipe.epochs

    @property
    def result(self) -> nn.Module:
        """The model that the recipe asks for: the average where it keeps one."""
        return self.task.trained(self.model if self.average is None else self.average.module)

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
        self._began, self._begun_at = self._clock(), len(self.record.losses)
        while self.record.epoch < self.settings.recipe.epochs:
            self._epoch()
        self._reach("end")
        return self.record

    def _epoch(self) -> None:
        record, places = self.record, self.places
        places.epoch, places.start = record.epoch, record.within
        self._forward.train()
        waiting, broken = list[Tensor](), 0
        began = self._clock()
        batches = staged(self.batches, self.task.staged, self.group.device)
        for passes, damaged in grouped(batches, self.settings.accumulate):
            waiting.append(self._step(passes))
            broken += damaged
            record.within += 1
            if len(waiting) == LOOK_EVERY or record.within == places.steps:
                self._look(waiting, broken)
                waiting, broken = [], 0
                record.seconds += self._clock() - began
                if record.within < places.steps:
                    self._reach("time")
                began = self._clock()
        self._end_epoch()

    def _step(self, passes: list[tuple[Any, Any]]) -> Tensor:
        """One step of the optimiser; its mean loss, on the device."""
        record, recipe = self.record, self.settings.recipe
        number = record.epoch * self.places.steps + record.within
        self.schedule.step_update(number)
        record.rates.append(float(self.optimizer.param_groups[0]["lr"]))
        self.task.before_step(self.optimizer, number)
        seed_at(self.settings.seed, _STEPS, number, self.group.rank)
        total = torch.zeros((), device=self.group.device, dtype=torch.float64)
        for turn, (inputs, targets) in enumerate(passes):
            alone = isinstance(self._shared, DistributedDataParallel) and turn < len(passes) - 1
            with self._shared.no_sync() if alone else contextlib.nullcontext():  # type: ignore[operator]
                loss = self.task.loss(self._forward, inputs, targets) / len(passes)
                self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total += loss.detach().double()
        if recipe.clip_grad is not None:
            self.scaler.unscale_(self.optimizer)
        self.task.limit_gradients(self.model, number)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.model, step=number)
        self.task.after_step(self.model, number)
        return total

    def _look(self, waiting: list[Tensor], damaged: int) -> None:
        """Take in the last steps, in every process alike, and stop where something is not finite."""
        record, size = self.record, self.group.size
        broken = torch.tensor([damaged], device=self.group.device, dtype=torch.float64)
        *losses, total = self.group.sum(torch.cat([torch.stack(waiting), broken])).tolist()
        for loss in losses:
            step = len(record.losses)
            require_finite(loss / size, "the loss", self._place(step))
            record.losses.append(loss / size)
        if not math.isfinite(norm(self._weights)):  # a weight is not, or its square
            largest = torch.stack(torch._foreach_norm(self._weights, math.inf))
            require_finite(float(largest.max()), "a weight", self._place(len(record.losses) - 1))
        record.damaged += round(total)
        if record.damaged > self.settings.limit_corrupt:
            raise UnitError(f"more than {self.settings.limit_corrupt} images could not be read (--limit-corrupt)")
        done = len(record.losses)
        speed = (self._clock() - self._began) / max(1, done - self._begun_at)
        said = self.task.warnings(record.epochs[-1].scores) if record.epochs else []
        self._tell("; ".join([words(self.settings, record), *said]), done / self.steps, speed * (self.steps - done))

    def _end_epoch(self) -> None:
        record, steps = self.record, self.places.steps
        began = self._clock()
        final = record.epoch + 1 == self.settings.recipe.epochs
        score = self._score(self.result, final=final)
        raw = None  # what is reported is judged in each epoch, the weights behind their average after the last one
        if final and self.average is not None:
            raw = self._score(self.model, final=False).values[self.task.headline]
        record.epochs.append(
            Epoch(
                epoch=record.epoch,
                step=len(record.losses),
                loss=math.fsum(record.losses[-steps:]) / steps,
                learning_rate=record.rates[-1],
                images=steps * self.settings.recipe.batch_size,
                seconds=record.seconds,
                scores=dict(score.values),
                low=score.low,
                high=score.high,
                test_images=score.count,
                raw=raw,
            )
        )
        record.total_seconds += record.seconds + self._clock() - began
        record.epoch, record.within, record.seconds, record.damaged = record.epoch + 1, 0, 0.0, 0
        reached = score.values[self.task.headline]
        is_best = reached > record.best
        record.best = max(record.best, reached)
        if is_best:
            self._reach("best")
        self._reach("epoch")

    def _reach(self, what: str) -> None:
        """Save what has to be saved now. Where that fails, it fails in every process."""
        self.group.guarded(lambda: self._keep(self, what) if self.group.is_first else None)

    def _score(self, model: nn.Module, *, final: bool) -> Score:
        found = self.task.score(model, final=final)
        for metric, value in found.values.items():
            require_finite(value, f"the {metric.replace('_', ' ')}", self._place(len(self.record.losses) - 1))
        return found

    def _place(self, step: int) -> str:
        """Where in the run a step is, for a message."""
        return f"step {step} (epoch {step // self.places.steps + 1}), learning rate {self.record.rates[step]:.3g}"
