"""`corruption`: accuracy of each model under each corruption, and errors relative to a baseline model's."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stmbench.analyses.base import Listener, Outcome
from stmbench.analyses.corruption.options import CLEAN, SEVERITIES, chosen_corruptions, means_over, overall
from stmbench.analyses.corruption.scores import Answers, Errors, Ratio, corruption_errors, differences
from stmbench.analyses.corruption.transforms import corrupt
from stmbench.analyses.images import ImageAnalysis, ImageRequest, Work
from stmbench.analyses.unit import Unit
from stmbench.data.image_selection import require_labels
from stmbench.measure.proportions import proportion
from stmbench.measure.statistics import Interval
from stmbench.tables import Row, Store
from stmbench.tables.labels import size_text

FILE = "answers.npz"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorruptionConfig:
    """What is measured.

    `corruptions` are names and families, none for all fifteen. `baseline` is the model that errors are given relative
    to, of the request or one whose answers to these images the store has; None for no ratios. `as_jpeg` also
    compresses every corrupted image with quality 85, as the published files are.
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
        InputError: a set without labels.
    """

    name = "corruption"

    def __init__(
        self, config: CorruptionConfig, request: ImageRequest, store: Store, *, listener: Listener | None = None
    ) -> None:
        super().__init__(request, store, listener=listener)
        self.config = config
        self._missing: dict[str, None] = {}  # remarks on a baseline without answers
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
            return  # already reported as failed
        unit = self.unit("means", model, chosen, derived=True)
        self._work[unit.key] = lambda: Outcome(rows=list(self._means(model, mine)))
        yield unit
        yield from self._compared(model, mine)
        if baseline is None or baseline == model:
            return
        theirs = self._done(baseline) if baseline in self.request.models else self._stored(baseline)
        if CLEAN not in theirs or len(mine.keys() & theirs.keys()) < 2:
            self._missing[f"no errors relative to {baseline}: the store has no answers of it to compare with"] = None
            return
        relative = {**chosen, "baseline": baseline, "baseline_weights": self.store.metadata(theirs[CLEAN])["weights"]}
        unit = self.unit("ratios", model, relative, derived=True)
        self._work[unit.key] = lambda: Outcome(rows=list(self._ratios(model, mine, baseline, theirs)))
        yield unit

    def _compared(self, model: str, mine: Mapping[str, str]) -> Iterator[Unit]:
        """Differences in accuracy to the control: the baseline, else the model without mixing."""
        control = self.control_model(self.config.baseline)
        theirs = {} if control in (None, model) else self._done(str(control))
        if len(mine.keys() & theirs.keys()) > 1:
            unit = self.unit(
                "differences", model, {"corruptions": self.config.chosen, "control": control}, derived=True
            )
            self._work[unit.key] = lambda: Outcome(rows=list(self._differences(model, mine, str(control), theirs)))
            yield unit

    def remarks(self) -> list[str]:
        return [*super().remarks(), *self._missing]

    def _done(self, model: str) -> dict[str, str]:
        """Condition -> key of the unit with the answers, of those that the store has."""
        return {name: unit.key for name, unit in self._measured(model).items() if self.is_done(unit)}

    def _stored(self, model: str) -> dict[str, str]:
        """The same of a model that is not in the request; nothing if the store has several of its weights."""
        request = self.request
        wanted = {
            "dataset": self.images.fingerprint(),
            "num_images": len(self.indices),
            "resolution": None if request.resolution is None else list(request.resolution),
            "dtype": request.dtype,
        }
        known = {"analysis": self.name, "definition": self.definition, "task": "answers", "models": [model]}
        keys, weights = dict[str, str](), set[str]()
        for key in self.store.keys(**known, seed=self.seed, status="ok"):
            facts = self.store.metadata(key)
            conditions = facts["conditions"]
            if all(conditions.get(name) == value for name, value in wanted.items()):
                keys[conditions["corruption"]] = key
                weights.update(facts["weights"])
        if len(weights) > 1:
            text = f"no errors relative to {model}: the store has several of its weights; add it to the models"
            self._missing[text] = None
        return keys if len(weights) == 1 else {}

    def _measured(self, model: str) -> dict[str, Unit]:
        """Condition -> unit."""
        return {name: self.unit("answers", model, {"corruption": name}) for name in (CLEAN, *self.config.chosen)}

    def _work_of(self, unit: Unit, model: str, condition: str) -> Work:
        def work() -> Outcome:
            loaded = self.labelled_model(model)
            batches = self.pixel_batches(loaded)
            levels = (0,) if condition == CLEAN else SEVERITIES
            indices, labels, predicted = list[int](), list[Tensor](), list[Tensor]()
            for batch in batches:
                assert batch.labels is not None
                pixels, ranks = batch.images.to(loaded.device, torch.float32), []
                for place, level in enumerate(levels):
                    done = len(indices) + len(batch) * place / len(levels)
                    self.say(f"{condition.replace('_', ' ')}: {model}", done, len(self.indices))
                    shown = pixels
                    if condition != CLEAN:
                        shown = corrupt(
                            pixels, condition, level, batch.indices, seed=self.seed, as_jpeg=self.config.as_jpeg
                        )
                    ranks.append(loaded.logits(shown).argmax(1).cpu())
                indices += batch.indices
                labels.append(batch.labels)
                predicted.append(torch.stack(ranks))
            answers = Answers(
                indices=np.array(indices), labels=torch.cat(labels).numpy(), predicted=torch.cat(predicted, 1).numpy()
            )
            path = self.store.artifact(unit.key, FILE)
            answers.write(path)
            known = {"condition": condition, "artifact": self.store.place(path), "num_images": len(indices)}
            rows = [
                self.interval_row(loaded, "accuracy", proportion(hits), level=level, **known)
                for level, hits in zip(levels, answers.hits, strict=True)
            ]
            resolution = size_text(*loaded.preprocessing.size)
            return Outcome(rows=rows, notes={"resolution": resolution, **self.damage(batches, loaded)})

        return work

    def _means(self, model: str, keys: Mapping[str, str]) -> Iterator[Row]:
        errors, known = self._errors(keys), self._known(keys)
        for condition, names in means_over(self.config.chosen).items():
            if set(names) <= set(errors.corrupted):
                yield self._row(model, "mean_accuracy", errors.mean_accuracy(names), condition=condition, **known)

    def _ratios(self, model: str, mine: Mapping[str, str], baseline: str, theirs: Mapping[str, str]) -> Iterator[Row]:
        errors = corruption_errors(self._errors(mine), self._errors(theirs), seed=self.seed)
        known = {**self._known(mine), "baseline": baseline}
        for metric, ratios in (("corruption_error", errors.each), ("relative_corruption_error", errors.each_relative)):
            for name, ratio in ratios.items():
                yield self._ratio_row(model, metric, ratio, condition=name, **known)
        if set(errors.each) == set(self.config.chosen):  # none has failed
            whole = overall(self.config.chosen)
            means = {"mean_corruption_error": errors.mean, "relative_mean_corruption_error": errors.mean_relative}
            for metric, ratio in means.items():
                yield self._ratio_row(model, metric, ratio, condition=whole, **known)

    def _differences(
        self, model: str, mine: Mapping[str, str], control: str, theirs: Mapping[str, str]
    ) -> Iterator[Row]:
        """At each severity, for each corruption and each family of them that both models have."""
        known = {**self._known(mine), "baseline": control}
        sides = [
            {name: Answers.read(self.store.artifact(keys[name], FILE)) for name in mine if name in theirs}
            for keys in (mine, theirs)
        ]
        for condition, names in {CLEAN: (CLEAN,), **means_over(self.config.chosen)}.items():
            if set(names) <= sides[0].keys():
                levels = (0,) if condition == CLEAN else SEVERITIES
                for level, found in zip(levels, differences(sides[0], sides[1], names), strict=True):
                    yield self._row(model, "accuracy_difference", found, condition=condition, level=level, **known)

    def _known(self, keys: Mapping[str, str]) -> dict[str, Any]:
        """Columns of a model's summaries, from the parts with its answers."""
        facts = self.store.metadata(keys[CLEAN])
        return {"weights": facts["weights"][0], "resolution": facts.get("resolution")}

    def _errors(self, keys: Mapping[str, str]) -> Errors:
        return Errors.of({name: Answers.read(self.store.artifact(key, FILE)) for name, key in keys.items()})

    def _ratio_row(self, model: str, metric: str, ratio: Ratio, **columns: Any) -> Row:
        if ratio.interval is None:
            return self._row(model, metric, None, status="skipped", reason=ratio.reason, **columns)
        status = "ok" if ratio.reason is None else "suspect"
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
