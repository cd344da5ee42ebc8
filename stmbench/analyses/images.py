"""The base of analyses that show images to models one by one: what they are asked for, and what they share."""

from __future__ import annotations

import abc
import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from stmbench.analyses.base import Analysis, Listener, Outcome, Progress
from stmbench.analyses.loaded_model import (
    LoadedModel,
    classes_for,
    damage,
    load_model,
    on_its_classes,
    weights_label,
    weights_remark,
)
from stmbench.analyses.models import DTYPES, facts_of, outputs_of, packages_of, plugin_hashes
from stmbench.analyses.registry import ANALYSES
from stmbench.analyses.unit import Unit
from stmbench.architectures.catalog import ModelName
from stmbench.architectures.given_models import is_given
from stmbench.architectures.mixer_contribution import faint_mixers
from stmbench.checkpoints.selection import Checkpoint
from stmbench.data.image_selection import replacement_images, require_labels, select_images
from stmbench.data.loading import LIMIT_CORRUPT, Batches, PixelCache, Prepare, batches
from stmbench.data.preprocessing import Preprocessing
from stmbench.data.sets import open_set
from stmbench.errors import ConfigError, UnknownNameError
from stmbench.measure.backend_settings import freed_memory_kept, require_dtype
from stmbench.measure.statistics import Interval
from stmbench.plugins import sha256_of
from stmbench.tables import Row, Store
from stmbench.tables.labels import size_text

Work = Callable[[], Outcome]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageRequest:
    """Models, images, and how they are brought together.

    `checkpoints` are files by model; a model without one keeps random weights. `num_images` None is the whole set, and
    with `or_fewer` as many as there are where there are fewer; `classes` and `labels` are those of `open_set`;
    `resolution` (H, W) None is each model's own; `batch_size`, `workers` and `limit_corrupt` do not change a result.
    """

    models: tuple[str, ...]
    checkpoints: Mapping[str, Path | Checkpoint] = dataclasses.field(default_factory=dict)
    dataset: str
    split: str = "test"
    classes: str | None = None
    labels: Path | None = None
    num_images: int | None = None
    or_fewer: bool = False
    resolution: tuple[int, int] | None = None
    seed: int = 0
    device: str = "cpu"
    dtype: str = "fp32"
    batch_size: int = 32
    workers: int = 0
    limit_corrupt: int = LIMIT_CORRUPT

    def __post_init__(self) -> None:
        if not self.models or len(set(self.models)) != len(self.models):
            raise ConfigError("each model once, and at least one", repr(self.models), "change --models")
        if self.dtype not in DTYPES:
            raise UnknownNameError("dtype", self.dtype, DTYPES)
        if self.batch_size < 1:
            raise ConfigError("a batch size of at least 1", repr(self.batch_size), "change --batch-size")
        strangers = [name for name in self.checkpoints if name not in self.models]
        if strangers:
            raise ConfigError("checkpoints of models of this run", strangers[0], "correct MODEL in --checkpoint")


class ImageAnalysis(Analysis):
    """An analysis whose units are one model and the chosen images of one set.

    A subclass gives `plan`: the units in order, each with the function that measures it. It is asked once, before
    anything is written, so what it refuses leaves no folder.

    Attributes:
        images: the opened set; `indices`: the chosen images.
    """

    knows_several_answers: ClassVar[bool] = False  # of an image
    takes_detectors: ClassVar[bool] = False

    def __init__(self, request: ImageRequest, store: Store, *, listener: Listener | None = None) -> None:
        super().__init__(store=store, seed=request.seed, device=request.device, listener=listener)
        require_dtype(request.dtype, request.device)
        self.request = request
        if not self.takes_detectors:
            self._refuse_detectors()
        self.images: Any = self.open_images()
        self.indices = select_images(self.images, self._count(), request.seed)
        self._work: dict[str, Work] = {}
        self._cache: tuple[Preprocessing, PixelCache] | None = None
        self._loaded: tuple[str, LoadedModel] | None = None
        self._notes: dict[str, Any] = {}  # what the units of the last loaded say of its head and mixers
        self._started, self._ended, self._todo = time.monotonic(), 0, 0

    def open_images(self) -> Any:
        """The set. Raises what opening it raises; ConfigError for answers that the analysis cannot take."""
        request = self.request
        images = open_set(
            request.dataset, split=request.split, seed=request.seed, classes=request.classes, labels=request.labels
        )
        if images.answers is not None and not self.knows_several_answers:
            remedy = "use --classes imagenet-1k, or `stmbench eval`"
            raise ConfigError(f"one right answer for each image, for {self.name}", f"several in {images.name}", remedy)
        return images

    def _refuse_detectors(self) -> None:
        for name in map(ModelName.parse, self.request.models):
            if name.detector is not None:
                remedy = f"name its backbone, {name.backbone}"
                raise ConfigError(f"a classification model, for {self.name}", name.text, remedy)

    def classes_of_untrained(self) -> int | None:
        """Classes of a model with random weights: as many as the set names; None, the model's own."""
        return classes_for(self.images)

    def _count(self) -> int | None:
        """Images to choose; None for all."""
        wanted = self.request.num_images
        return None if wanted is not None and self.request.or_fewer and len(self.images) <= wanted else wanted

    @abc.abstractmethod
    def plan(self) -> Iterator[tuple[Unit, Work]]:
        """The units of work in order, and how each is measured."""

    def units(self) -> Iterator[Unit]:
        plan = list(self.plan())
        self.store.require_writable(once=True)
        self._work = {unit.key: work for unit, work in plan}
        self._started, self._ended = time.monotonic(), 0
        self._todo = sum(not self.is_done(unit) for unit, _ in plan)
        # passes over many images would give it back and ask for it again each time
        with freed_memory_kept(self.request.device):
            for unit, _ in plan:
                before = len(self._work)
                yield unit
                self._ended += len(self._work) < before  # measured rather than kept

    def comparison(
        self, units: Mapping[str, Unit], control: str | None, differences: Callable[[dict[str, Unit]], Iterable[Row]]
    ) -> Iterator[Unit]:
        """The unit of `differences` to a control, of the models whose units are done; none where fewer than two are."""
        done = {model: unit for model, unit in units.items() if self.is_done(unit)}
        if control in done and len(done) > 1:
            sources = {"sources": [unit.key for unit in done.values()], "control": control}
            weights = tuple(unit.weights[0] for unit in done.values())
            unit = self.unit("comparison", control, sources, models=tuple(done), weights=weights, derived=True)
            self._work[unit.key] = lambda: Outcome(rows=list(differences(done)))
            yield unit

    def is_complete(self) -> bool:
        return all(self.is_done(unit) for unit, _ in self.plan())

    def measure(self, unit: Unit) -> Outcome:
        outcome = self._work.pop(unit.key)()
        return dataclasses.replace(outcome, notes={**outcome.notes, **self._notes})

    def loaded_model(self, model: str) -> LoadedModel:
        """The model with its weights, on its device. Only the last one stays in memory."""
        if self._loaded is None or self._loaded[0] != model:
            self._loaded = None  # before the next one takes its place in memory
            request, classes = self.request, self.classes_of_untrained()
            where = (request.checkpoints.get(model), request.seed, request.device, request.dtype)
            model_loaded = load_model(model, *where, classes, request.resolution)
            label = model if model_loaded.is_untrained else f"{model} ({model_loaded.weights})"
            faint = faint_mixers(label, model_loaded.model, model_loaded.preprocessing.size)
            self._notes = {**outputs_of(model, model_loaded.model), **faint}
            self._loaded = model, model_loaded
        return self._loaded[1]

    def labelled_model(self, model: str) -> LoadedModel:
        """The model, on the classes that the set's labels count.

        Raises:
            InputError: no labels, or classes that are not the model's.
        """
        loaded = on_its_classes(self.loaded_model(model), self.images, self.request.checkpoints.get(model))
        require_labels(self.images, self.indices, loaded.num_classes)
        return loaded

    def control_model(self, wanted: str | None) -> str | None:
        """What the others are compared with: `wanted`, else the model without mixing; None if neither is here."""
        models = self.request.models
        found = [wanted, *(name for name in models if facts_of(name).mixer == "identity")]
        return next((name for name in found if name in models), None)

    def weights(self, model: str) -> str:
        """The table's `weights`. Raises CheckpointError for weights that do not fit."""
        return weights_label(model, self.request.checkpoints.get(model), self.request.seed)

    def remarks(self) -> list[str]:
        files = self.request.checkpoints
        remarks = {model: weights_remark(model, files.get(model)) for model in self.request.models}
        wanted, count = self.request.num_images, len(self.indices)
        few = [f"all {count} images of {self.images.name}, which has no {wanted}"] if (wanted or 0) > count else []
        return [*self.images.remarks, *few, *(f"{model}: {remark}" for model, remark in remarks.items() if remark)]

    def pixel_batches(self, loaded: LoadedModel, *, batch_size: int | None = None) -> Batches:
        """The chosen images as the model sees them before normalisation; decoded once for all models that agree."""
        wanted = loaded.preprocessing
        if self._cache is None or self._cache[0] != wanted:
            self._cache = wanted, PixelCache()
        return self.batches(wanted.pixels, batch_size=batch_size, cache=self._cache[1])

    def batches(self, prepare: Prepare, *, batch_size: int | None = None, cache: PixelCache | None = None) -> Batches:
        """The chosen images; `prepare` is usually a method of the loaded's preprocessing."""
        request, count = self.request, len(self.indices)
        return batches(
            self.images,
            self.indices,
            prepare,
            batch_size=batch_size or request.batch_size,
            workers=request.workers,
            limit_corrupt=request.limit_corrupt,
            cache=cache,
            spare=lambda: replacement_images(self.images, count, request.seed),
        )

    def unit(self, task: str, model: str, conditions: Mapping[str, Any] | None = None, **rest: Any) -> Unit:
        """A unit of one model; `conditions` beside those of every such unit, `rest` other fields of `Unit`."""
        request = self.request
        known = {
            "dataset": self.images.fingerprint(),
            "num_images": len(self.indices),
            "resolution": request.resolution,
            "num_classes": None if model in request.checkpoints or is_given(model) else self.classes_of_untrained(),
            "dtype": request.dtype,
            "device": request.device.partition(":")[0],
        }
        own = sha256_of(ANALYSES.kind, self.name)  # of the plug-in that the analysis is from, if any
        settings: dict[str, Any] = {
            "analysis": self.name,
            "definition": self.definition,
            "task": task,
            "models": (model,),
            "weights": (self.weights(model),),
            "conditions": {**known, **(conditions or {})},
            "seed": request.seed,
            "plugins": {**plugin_hashes([model]), **({self.name: own} if own else {})},
            "packages": packages_of([model], self.software),
        }
        return Unit(**{**settings, **rest})

    def _failed_rows(self, unit: Unit, reason: str) -> list[Row]:
        known = {
            "definition": unit.definition,
            "status": "failed",
            "reason": reason,
            "dataset": self.images.column,
            "split": self.images.split,
            "num_images": len(self.indices),
            "dtype": self.request.dtype,
        }
        metric = self.headline(unit)
        pairs = zip(unit.models, unit.weights, strict=True)
        return [self.row(metric=metric, value=None, model=model, weights=label, **known) for model, label in pairs]

    def image_row(
        self, loaded: LoadedModel, metric: str, value: float | None, *, num_images: int | None = None, **columns: Any
    ) -> Row:
        """A row of one model on the chosen images; `num_images` is what the value rests on, by default all chosen."""
        height, width = loaded.preprocessing.size
        known = {
            "weights": loaded.weights,
            "dataset": self.images.column,
            "split": self.images.split,
            "num_images": len(self.indices) if num_images is None else num_images,
            "dtype": self.request.dtype,
            "resolution": size_text(height, width),
        }
        return self.row(metric=metric, value=value, model=loaded.name, **{**known, **columns})

    def interval_row(self, loaded: LoadedModel, metric: str, interval: Interval, **columns: Any) -> Row:
        """A summary row with an interval over images."""
        low, high = (None if end != end else end for end in (interval.low, interval.high))
        known = {"kind": "summary", "num_samples": interval.count, "ci_low": low, "ci_high": high}
        return self.image_row(loaded, metric, interval.estimate, **{**known, **columns})

    def say(self, text: str, done: float, total: float) -> None:
        """Tell where this unit stands; the time left supposes that the units to come take as long as those so far."""
        units = self._ended + done / max(total, 1)
        spent = time.monotonic() - self._started
        left = spent / units * max(0.0, self._todo - units) if units > 0 else None
        self.tell(Progress(text=text, done=done, total=total, seconds_left=left))

    def damage(self, batches: Batches, loaded: LoadedModel | None = None) -> dict[str, Any]:
        """What was passed over, skipped or left out: metadata, and warnings that the run's end shows."""
        return damage(batches, self.images, loaded)
