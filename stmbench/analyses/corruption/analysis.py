"""`corruption`: accuracy of each model under each corruption, and errors relative to a baseline model's."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stmbench.analyses.base import Listener, Outcome
from stmbench.analyses.corruption.metrics import UNITS
from stmbench.analyses.corruption.options import CLEAN, SEVERITIES, chosen_corruptions, means_over, overall
from stmbench.analyses.corruption.scores import Answers, Errors, Ratio, corruption_errors
from stmbench.analyses.corruption.transforms import corrupt
from stmbench.analyses.images import ImageAnalysis, ImageRequest, Work
from stmbench.analyses.unit import Unit
from stmbench.data.sampling import require_labels
from stmbench.errors import ConfigError
from stmbench.measure.proportions import proportion
from stmbench.measure.statistics import Interval
from stmbench.tables import Row, Store
from stmbench.tables.labels import size_text

FILE = "answers.npz"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorruptionConfig:
    """What is measured.

    `corruptions` are names and families, none for all fifteen; `baseline` is the model of the request that errors are
    given relative to, None for no ratios; `as_jpeg` also compresses every corrupted image with quality 85, as the
    published files are.
    """

    corruptions: tuple[str, ...] = ()
    baseline: str | None = None
    as_jpeg: bool = False

    def __post_init__(self) -> None:
        chosen_corruptions(self.corruptions)

    @property
    def chosen(self) -> tuple[str, ...]:
        """The corruptions by name, in the published order."""
        return chosen_corruptions(self.corruptions)


class CorruptionStudy(ImageAnalysis):
    """A unit for each model and corruption with all its severities, one for the clean images, and a summary.

    Raises:
        InputError: a set without labels. ConfigError: a baseline that is not among the models.
    """

    name = "corruption"
    metric_units: Mapping[str, str] = UNITS

    def __init__(
        self, config: CorruptionConfig, request: ImageRequest, store: Store, *, listener: Listener | None = None
    ) -> None:
        if config.baseline is not None and config.baseline not in request.models:
            remedy = "add it to --models; what the store has of it is not measured again"
            raise ConfigError("a baseline among the models", repr(config.baseline), remedy)
        super().__init__(request, store, listener=listener)
        self.config = config
        if self.images.labels() is None:
            require_labels(self.images, self.indices, 0)

    @property
    def definition(self) -> str:
        return f"corruption.stmbench{'.jpeg85' if self.config.as_jpeg else ''}.v1"

    def headline(self, unit: Unit) -> str | None:
        return "accuracy"

    def plan(self) -> Iterator[tuple[Unit, Work]]:
        for model in self.request.models:
            for condition, unit in self._measured(model).items():
                yield unit, self._work_of(unit, model, condition)

    def units(self) -> Iterator[Unit]:
        yield from super().units()
        for model in self.request.models:
            yield from self._derived(model)

    def _derived(self, model: str) -> Iterator[Unit]:
        """The summaries of a model, from what is in the store: its means, and its errors relative to the baseline's."""
        mine, baseline = self._done(model), self.config.baseline
        chosen: dict[str, Any] = {"corruptions": self.config.chosen}
        if CLEAN not in mine or len(mine) < 2:
            return  # failed, and said so
        unit = self.unit("means", model, chosen, derived=True)
        self._work[unit.key] = lambda: Outcome(rows=list(self._means(model, mine)))
        yield unit
        if baseline is None or baseline == model:
            return
        theirs = self._done(baseline)
        if CLEAN not in theirs or len(mine.keys() & theirs.keys()) < 2:
            return
        relative = {**chosen, "baseline": baseline, "baseline_weights": theirs[CLEAN].weights}
        unit = self.unit("ratios", model, relative, derived=True)
        self._work[unit.key] = lambda: Outcome(rows=list(self._ratios(model, mine, baseline, theirs)))
        yield unit

    def _done(self, model: str) -> dict[str, Unit]:
        """Condition -> unit, of those that the store has."""
        return {name: unit for name, unit in self._measured(model).items() if self.is_done(unit)}

    def _measured(self, model: str) -> dict[str, Unit]:
        """Condition -> unit."""
        return {name: self.unit("answers", model, {"corruption": name}) for name in (CLEAN, *self.config.chosen)}

    def _work_of(self, unit: Unit, model: str, condition: str) -> Work:
        def work() -> Outcome:
            subject = self.labelled_subject(model)
            loaded = self.pixel_batches(subject)
            levels = (0,) if condition == CLEAN else SEVERITIES
            indices, labels, predicted = list[int](), list[Tensor](), list[Tensor]()
            for batch in loaded:
                assert batch.labels is not None
                pixels, found = batch.images.to(subject.device, torch.float32), []
                for place, level in enumerate(levels):
                    done = len(indices) + len(batch) * place / len(levels)
                    self.say(f"{condition.replace('_', ' ')}: {model}", done, len(self.indices))
                    shown = pixels
                    if condition != CLEAN:
                        shown = corrupt(
                            pixels, condition, level, batch.indices, seed=self.seed, as_jpeg=self.config.as_jpeg
                        )
                    found.append(subject.logits(shown).argmax(1).cpu())
                indices += batch.indices
                labels.append(batch.labels)
                predicted.append(torch.stack(found))
            answers = Answers(
                indices=np.array(indices), labels=torch.cat(labels).numpy(), predicted=torch.cat(predicted, 1).numpy()
            )
            path = self.store.artifact(unit.key, FILE)
            answers.write(path)
            known = {"condition": condition, "artifact": self.store.place(path), "num_images": len(indices)}
            rows = [
                self.interval_row(subject, "accuracy", proportion(hits), level=level, **known)
                for level, hits in zip(levels, answers.hits, strict=True)
            ]
            resolution = size_text(*subject.preprocessing.size)
            return Outcome(rows=rows, notes={"resolution": resolution, **self.damage(loaded, subject)})

        return work

    def _means(self, model: str, units: Mapping[str, Unit]) -> Iterator[Row]:
        errors, known = self._errors(units), self._known(units)
        for condition, names in means_over(self.config.chosen).items():
            if set(names) <= set(errors.corrupted):
                yield self._row(model, "mean_accuracy", errors.mean_accuracy(names), condition=condition, **known)

    def _ratios(self, model: str, mine: Mapping[str, Unit], baseline: str, theirs: Mapping[str, Unit]) -> Iterator[Row]:
        found = corruption_errors(self._errors(mine), self._errors(theirs), seed=self.seed)
        known = {**self._known(mine), "baseline": baseline}
        for metric, ratios in (("corruption_error", found.each), ("relative_corruption_error", found.each_relative)):
            for name, ratio in ratios.items():
                yield self._ratio_row(model, metric, ratio, condition=name, **known)
        if set(found.each) == set(self.config.chosen):  # none has failed
            whole = overall(self.config.chosen)
            means = {"mean_corruption_error": found.mean, "relative_mean_corruption_error": found.mean_relative}
            for metric, ratio in means.items():
                yield self._ratio_row(model, metric, ratio, condition=whole, **known)

    def _known(self, units: Mapping[str, Unit]) -> dict[str, Any]:
        """Columns of a model's summaries, from its measured units."""
        resolution = self.store.metadata(units[CLEAN].key).get("resolution")
        return {"weights": units[CLEAN].weights[0], "resolution": resolution}

    def _errors(self, units: Mapping[str, Unit]) -> Errors:
        return Errors.of({name: Answers.read(self.store.artifact(unit.key, FILE)) for name, unit in units.items()})

    def _ratio_row(self, model: str, metric: str, ratio: Ratio, **columns: Any) -> Row:
        if ratio.interval is None:
            return self._row(model, metric, None, status="skipped", reason=ratio.reason, **columns)
        status = "ok" if ratio.reason is None else "inconclusive"
        return self._row(model, metric, ratio.interval, status=status, reason=ratio.reason, **columns)

    def _row(self, model: str, metric: str, found: Interval | None, **columns: Any) -> Row:
        """A summary row of a model that need not be in memory."""
        known: dict[str, Any] = {
            "kind": "summary",
            "dataset": self.images.column,
            "split": self.images.split,
            "num_images": len(self.indices),
            "dtype": self.request.dtype,
        }
        if found is not None:
            low, high = (None if end != end else end for end in (found.low, found.high))
            known |= {"num_images": found.count, "num_samples": found.count, "ci_low": low, "ci_high": high}
        value = None if found is None else found.estimate
        return self.row(metric=metric, value=value, model=model, **{**known, **columns})
