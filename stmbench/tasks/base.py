"""The interface of a task. The loop, resume, DDP and rows are the same for all tasks and know none of them."""

from __future__ import annotations

import abc
import dataclasses
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar, Final, Generic, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from stmbench.architectures.catalog import ModelName, create_model
from stmbench.architectures.given_models import is_given
from stmbench.errors import ConfigError
from stmbench.kernels.norm import norm
from stmbench.kernels.setting import WHOLE
from stmbench.measure.backend_settings import AUTOCAST
from stmbench.training.batches import Places
from stmbench.training.distributed import ProcessGroup
from stmbench.training.recipe import Recipe
from stmbench.training.settings import TrainingSettings, seed_at

TASKS: Final[Mapping[str, tuple[str, str]]] = {
    "classification": ("stmbench.tasks.classification.task", "Classification"),
    "detection": ("stmbench.tasks.detection.task", "Detection"),
    "dino": ("stmbench.tasks.dino.task", "SelfDistillationTask"),
}


ROUNDING: Final = 1e-4  # of a norm, whatever the order of its sum; float32's is less for 10^9 numbers


class NumberedImages(Protocol):
    """What the rows and the resume check ask of a split, whatever is known of its images."""

    name: str
    split: str
    remarks: tuple[str, ...]
    damaged: tuple[str, ...]
    embedded: bool

    def __len__(self) -> int: ...

    def fingerprint(self) -> str:
        """SHA-256, in hex, of everything that determines the set."""

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the classes."""

    @property
    def column(self) -> str:
        """The value of the table's `dataset` column."""


Images = TypeVar("Images", bound=NumberedImages, covariant=True)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TrainingData(Generic[Images]):
    """Two sets with the same classes, and the numbers of the images to train on."""

    train: Images
    test: Images
    chosen: tuple[int, ...]
    num_classes: int

    @property
    def fingerprints(self) -> dict[str, str]:
        """What the two sets are functions of."""
        return {"train": self.train.fingerprint(), "test": self.test.fingerprint()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """How a model did on `count` images: metric -> value, the task's headline first; `low` and `high` are its interval.

    A metric that is not defined for these images is left out; a value that is not finite ends the run.
    """

    values: Mapping[str, float]
    count: int
    low: float | None = None
    high: float | None = None


class Task(abc.ABC):
    """One run's task: made from its settings, its data and the processes that share the work.

    Attributes:
        name: of the task.
        headline: the metric that says how good a model is, in [0, 1], higher is better; the best epoch has the highest.
        same_graph: whether every step uses the same parameters in the same order.
    """

    name: ClassVar[str]
    headline: ClassVar[str]
    same_graph: ClassVar[bool] = True

    def __init__(self, settings: TrainingSettings, data: TrainingData[Any], group: ProcessGroup) -> None:
        self.settings, self.data, self.group = settings, data, group
        self._clipped = list[nn.Parameter]()
        self.dtype = torch.float64 if settings.dtype == "fp64" else torch.float32
        self.autocast = AUTOCAST.get(settings.dtype)

    @classmethod
    @abc.abstractmethod
    def open_data(cls, settings: TrainingSettings) -> TrainingData[Any]:
        """Both splits. Raises ConfigError or InputError for what does not fit the task or the model."""

    @property
    def options(self) -> dict[str, Any]:
        """Those of the model that the run sets: classes and drop path; none of a module given as an object."""
        settings = self.settings
        found: dict[str, Any] = {} if is_given(settings.model) else {"num_classes": self.data.num_classes}
        if settings.recipe.drop_path is not None:
            found["drop_path_rate"] = settings.recipe.drop_path
        return found

    def build(self) -> nn.Module:
        """The model with weights of the seed; a module given as an object keeps its own weights and classes.

        Raises:
            ConfigError: a model that cannot recompute its blocks, and was asked to.
        """
        settings = self.settings
        seed_at(settings.seed)
        model = create_model(settings.model, **self.options).train()  # refused at once where it cannot be trained
        if settings.grad_checkpointing:
            trunk: Any = getattr(model, "trunk", model)
            if not hasattr(trunk, "set_grad_checkpointing"):
                expected, remedy = "a model that can recompute its blocks", "leave --grad-checkpointing out"
                raise ConfigError(expected, settings.model, remedy)
            trunk.set_grad_checkpointing()
        return model

    @abc.abstractmethod
    def prepare(self, model: nn.Module) -> None:
        """Called once with the model on its device, before anything below."""

    @property
    @abc.abstractmethod
    def size(self) -> tuple[int, int]:
        """(H, W) of the images, for the table."""

    @abc.abstractmethod
    def images(self) -> Dataset[Any]:
        """The chosen images by `Key`: (input, target, whether it could not be read)."""

    @property
    def collate(self) -> Callable[[list[Any]], Any] | None:
        """What makes (inputs, targets, flags) of a batch's items; None: torch's own."""
        return None

    def places(self, images: Dataset[Any]) -> Any:
        """The order of the images, epoch by epoch: `Places`, or what has the same attributes."""
        settings, group = self.settings, self.group
        return Places(
            cast(Sized, images),
            batch=settings.recipe.batch_size,
            processes=group.size,
            rank=group.rank,
            seed=settings.seed,
            blocks=getattr(images, "blocks", lambda: None)(),
        )

    def compiled(self, model: nn.Module) -> nn.Module:
        """The model compiled by torch, with the same parameters."""
        return cast(nn.Module, torch.compile(model))

    @abc.abstractmethod
    def staged(self, inputs: Any, targets: Any) -> tuple[Any, Any]:
        """A batch on the run's device, as `loss` takes it. Draws nothing: it may be made while another step runs."""

    @abc.abstractmethod
    def loss(self, forward: nn.Module, inputs: Any, targets: Any) -> Tensor:
        """The loss of one staged batch, under autocast.

        Args:
            forward: the model, with what shares its gradients around it.
        """

    def before_step(self, optimizer: torch.optim.Optimizer, step: int) -> None:  # noqa: B027
        """Set what follows a schedule of the task's own; the learning rate is set already.

        Args:
            step: of the optimiser, counted over the whole run.
        """

    def limit_gradients(self, model: nn.Module, step: int) -> None:
        """Clip the gradients, which are unscaled, as the recipe asks for."""
        if self.settings.recipe.clip_grad is not None:
            self._clipped = self._clipped or [*model.parameters()]  # which takes longer to collect than to clip
            clip(self._clipped, self.settings.recipe.clip_grad)

    def after_step(self, model: nn.Module, step: int) -> None:  # noqa: B027
        """Whatever follows the optimiser's step."""

    def trained(self, model: nn.Module) -> nn.Module:
        """The network that the run is for: what is saved and judged."""
        return model

    @abc.abstractmethod
    def score(self, model: nn.Module, *, final: bool) -> Score:
        """How a model does on the held-out images; all processes together.

        Args:
            final: whether this is the run's last time, whose interval is kept.
        """

    def warnings(self, scores: Mapping[str, float]) -> list[str]:
        """Sentences on an epoch's scores, for who has to do something about them."""
        return []

    def arithmetic(self) -> AbstractContextManager[Any]:
        """The run's precision, for forward passes."""
        return torch.autocast(self.group.device.type, self.autocast, enabled=self.autocast is not None)

    def to_device(self, images: Tensor) -> Tensor:
        """Inputs on the run's device, in its dtype and memory format."""
        found = images.to(self.group.device, self.dtype, non_blocking=True)
        return found.contiguous(memory_format=torch.channels_last) if self.settings.channels_last else found


def clip(parameters: Sequence[nn.Parameter], limit: float) -> None:
    """Scale the gradients so that their norm, all together, is at most `limit`, as torch's `clip_grad_norm_` does.

    On a CPU, where it costs nothing to look at a number, one pass over all of them finds those that are short enough.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    in_full = gradients and all(each.is_cpu and each.dtype in WHOLE and not each.is_sparse for each in gradients)
    if in_full and norm(gradients) <= limit * (1 - ROUNDING):
        return
    nn.utils.clip_grad_norm_(parameters, limit)


@contextmanager
def in_eval_mode(model: nn.Module) -> Iterator[None]:
    """A model in eval mode, and afterwards in the mode that it was in."""
    mode = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(mode)


def task_of(settings: TrainingSettings) -> type[Task]:
    """The task of a run. Raises ConfigError where recipe and model do not fit."""
    module, name = TASKS[task_name(settings.model, settings.recipe)]
    return cast(type[Task], getattr(importlib.import_module(module), name))


def task_name(model: str, recipe: Recipe | None = None) -> str:
    """The name of a model's task: that of the recipe, where it has one.

    Raises:
        UnknownNameError: no such model. ConfigError: a recipe of another task, for a detector.
    """
    asked = None if recipe is None else recipe.task
    if ModelName.parse(model).detector is None:
        return asked or "classification"
    if asked is not None:
        raise ConfigError(f"a network without a detector, for {asked}", model, "name its backbone alone")
    return "detection"


def open_data(settings: TrainingSettings) -> TrainingData[Any]:
    """Both splits of a run. Raises ConfigError or InputError for what does not fit its model."""
    return task_of(settings).open_data(settings)
