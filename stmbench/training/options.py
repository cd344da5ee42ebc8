"""Options of training: one dataclass, from which the command and the Python function are made."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stmbench.analyses.options import (
    LARGEST_BATCH,
    MOST_THREADS,
    ImageOptions,
    Options,
    RunSettings,
    option,
    resolutions,
)
from stmbench.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from stmbench.analyses.base import Listener
    from stmbench.checkpoints.selection import Checkpoint
    from stmbench.tables import Store
    from stmbench.training.analysis import Training
    from stmbench.training.distributed import ProcessGroup
    from stmbench.training.settings import TrainingSettings

LARGEST_SEED = 2**32 - 1
TASKS = ("classification", "detection", "dino")


def _shared(name: str, default: Any = dataclasses.MISSING) -> Any:
    """A field of `ImageOptions` as it is there, or with another default."""
    (field,) = (field for field in dataclasses.fields(ImageOptions) if field.name == name)
    chosen = field.default if default is dataclasses.MISSING else default
    return dataclasses.field(default=chosen, metadata=field.metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainOptions(Options):
    """What every model of one call is trained on, by which recipe, and how the work is done."""

    dataset: str = _shared("dataset", "digits")
    train_split: str = option("train", help="Split to train on.", metavar="NAME")
    split: str = _shared("split")
    classes: str | None = _shared("classes")
    labels: Path | None = _shared("labels")  # noqa: RUF009
    data_fraction: float = option(1.0, help="Fraction of each class's training images, from 0 to 1.", metavar="SHARE")
    task: str | None = option(
        None,
        help="classification, detection, or dino: self-distillation without labels; default: the recipe's and the "
        "model's.",
        metavar="TASK",
    )
    recipe: str | None = option(
        None,
        help="stm (by the mixer's family), stm_conv, stm_attention, container, cot, cot_advanced, digits, shapes, "
        "relations, small; for detectors detection_stm, detection_container, detection_cot, detection_detr, "
        "detection_small; of self-distillation dino, dino_hierarchical, dino_conv, dino_digits, dino_shapes; "
        "default: the embedded set's own, or stm.",
        metavar="NAME",
    )
    epochs: int | None = option(None, help="Overrides the recipe's.", least=1, most=1_000_000)
    batch_size: int | None = option(
        None, help="Images per step over all processes; lr scales with it.", least=1, most=LARGEST_BATCH
    )
    lr: float | None = option(None, help="Overrides the recipe's, for its batch size.")
    set: tuple[str, ...] = option(
        (),
        help="Override any field of the recipe: mixup=0. Repeatable; in Python also {'mixup': 0}.",
        metavar="FIELD=VALUE",
    )
    backbone: Path | None = option(
        None,
        help="Weights that a detector's backbone begins with: a checkpoint of its classification model, or a store.",
        metavar="PATH",
    )
    seeds: tuple[int, ...] = option(
        (0,), help="Seeds of weights, order and augmentation; one run per seed.", metavar="NUMBERS", example="0,1,2"
    )
    resolution: int | str | None = _shared("resolution")
    dtype: str = option("fp32", help="fp32; tf32; bf16 or fp16 by autocast; fp64.", metavar="DTYPE")
    accumulate: int = option(1, help="Backward passes per step.", least=1)
    grad_checkpointing: bool = option(False, help="Recompute blocks in the backward pass: less memory.")
    compile: bool = option(False, help="Compile the models with torch.compile.")
    channels_last: bool = option(False, help="Images and weights in channels-last format.")
    keep_every: int | None = option(None, help="Keep the weights of every N-th epoch.", metavar="N", least=1)
    resume: Path | None = option(
        None, help="Resume from this run's folder or state.pt, in place of --out's.", metavar="PATH"
    )
    tensorboard: bool = option(False, help="Also write TensorBoard curves.")
    workers: int | str = option(
        "auto",
        help="Processes that decode images ahead; auto: by the images, the cores and the device.",
        metavar="N",
    )
    limit_corrupt: int = _shared("limit_corrupt")
    threads: int | None = option(None, help="CPU threads; default: torch's.", least=1, most=MOST_THREADS)

    def __post_init__(self) -> None:
        super().__post_init__()
        expected, remedy = "seeds such as 0,1,2, below 2^32", "change --seeds"
        if not self.seeds or any(not 0 <= seed <= LARGEST_SEED for seed in self.seeds):
            raise ConfigError(expected, repr(",".join(map(str, self.seeds))), remedy)
        if len({*self.seeds}) != len(self.seeds):
            raise ConfigError("each seed once", repr(",".join(map(str, self.seeds))), remedy)
        if self.task is not None and self.task not in TASKS:
            raise UnknownNameError("task", self.task, TASKS)
        _ = self.size, self.changes, self.worker_count

    @property
    def size(self) -> tuple[int, int] | None:
        """(H, W) of the images; None: each model's own."""
        if self.resolution is None:
            return None
        sizes = resolutions(str(self.resolution))
        if len(sizes) > 1:
            raise ConfigError("one resolution", repr(self.resolution), "run it once for each")
        return sizes[0]

    @property
    def worker_count(self) -> int | None:
        """Processes that decode images ahead; None where the run is to say."""
        text = str(self.workers)
        if text == "auto":
            return None
        if not (text.isascii() and text.isdigit()) or len(text) > 9 or int(text) > MOST_THREADS:
            raise ConfigError(f"workers from 0 to {MOST_THREADS}, or auto", repr(text[:40]), "change --workers")
        return int(text)

    @property
    def changes(self) -> dict[str, Any]:
        """Fields of the recipe that are given other values, which YAML reads: `mixup=0`, `crop_scale=[0.5, 1]`."""
        import yaml

        changes: dict[str, Any] = {}
        for text in self.set:
            name, equals, value = text.partition("=")
            if not equals:
                raise ConfigError("a field of the recipe and a value", repr(text), "write --set mixup=0")
            try:
                changes[name.strip()] = yaml.safe_load(value)
            except (yaml.YAMLError, ValueError, RecursionError) as error:  # digits without end, brackets without end
                got = repr(value) if len(value) <= 60 else f"{value[:57]!r}..."
                raise ConfigError("a value such as 0.1, null or [0.5, 1]", got, "correct --set") from error
        own = {"epochs": self.epochs, "batch_size": self.batch_size, "lr": self.lr}
        return changes | {name: value for name, value in own.items() if value is not None}

    def runs(self, models: Sequence[str]) -> list[TrainingSettings]:
        """One training for each model and seed. Raises ConfigError for a recipe that is not valid."""
        from stmbench.analyses.models import facts_of
        from stmbench.architectures.given_models import is_given
        from stmbench.tasks.base import task_name
        from stmbench.training.presets import default_recipe, recipe_for, warmup_remark
        from stmbench.training.settings import TrainingSettings

        changes, facts = self.changes, {name: facts_of(name) for name in models}
        presets = {name: self.recipe or default_recipe(self.dataset, name, self.task) for name in models}
        recipes = {
            name: recipe_for(presets[name], known.mixer, known.scale, **changes) for name, known in facts.items()
        }
        for name, recipe in recipes.items():
            self._require_task(name, task_name(name, recipe), presets[name])
        given = [name for name in models if is_given(name)]
        if given and changes.get("drop_path") is not None:
            got = f"drop_path={changes['drop_path']} for {given[0]}"
            raise ConfigError("no drop_path for a module, which has its own", got, "leave it out of --set")
        recipes |= {name: dataclasses.replace(recipes[name], drop_path=None) for name in given}
        begins = {name: self._backbone(name) for name in models}
        remarks = {
            name: warmup_remark(recipe, presets[name], facts[name].mixer, **changes) for name, recipe in recipes.items()
        }
        start = {name: f"{name}: trained from the weights it was given, whatever the seed" for name in given}
        return [
            TrainingSettings(
                model=name,
                recipe=recipes[name],
                remarks=tuple(filter(None, [remarks[name], start.get(name)])),
                dataset=self.dataset,
                train_split=self.train_split,
                test_split=self.split,
                classes=self.classes,
                labels=self.labels,
                data_fraction=self.data_fraction,
                seed=seed,
                backbone=begins[name][0],
                backbone_weights=begins[name][1],
                dtype=self.dtype,
                accumulate=self.accumulate,
                resolution=self.size,
                grad_checkpointing=self.grad_checkpointing,
                compile=self.compile,
                channels_last=self.channels_last,
                workers=self.worker_count,
                limit_corrupt=self.limit_corrupt,
                keep_every=self.keep_every,
                tensorboard=self.tensorboard,
            )
            for name in models
            for seed in self.seeds
        ]

    def _require_task(self, model: str, found: str, recipe: str) -> None:
        if self.task is not None and self.task != found:
            expected = f"a run of the task {self.task}"
            remedy = "leave --task or --recipe out" if self.recipe else "leave --task out, or name another model"
            raise ConfigError(expected, f"{found}, by {recipe} and {model}", remedy)

    def _backbone(self, model: str) -> tuple[Checkpoint | None, str | None]:
        """The weights that a detector's backbone begins with, and what tables call them."""
        if self.backbone is None:
            return None, None
        from stmbench.architectures.model_names import ModelName
        from stmbench.checkpoints.backbones import backbone_checkpoint, read_backbone

        if ModelName.parse(model).detector is None:
            raise ConfigError("a detector, for --backbone", model, f"write maskrcnn:{model}, or leave it out")
        checkpoint = backbone_checkpoint(self.backbone, model)
        return checkpoint, read_backbone(model, checkpoint)[1].label

    def training(
        self,
        runs: Sequence[TrainingSettings],
        store: Store,
        *,
        group: ProcessGroup,
        fresh: bool = False,
        listener: Listener | None = None,
    ) -> Training:
        """The analysis that does these runs."""
        from stmbench.training.analysis import Training

        return Training(runs, store, group=group, resume=self.resume, fresh=fresh, listener=listener)

    def analysis(self, run: RunSettings, store: Store, listener: Listener | None = None) -> Training:
        """Training in this process alone."""
        import torch

        from stmbench.training.distributed import ProcessGroup

        return self.training(self.runs(run.models), store, group=ProcessGroup(device=torch.device(run.device)),
                             listener=listener)  # fmt: skip
