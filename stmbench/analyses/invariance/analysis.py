"""`invariance_translation`, `invariance_rotation`, `invariance_scale`: a unit of work for each model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from stmbench.analyses.base import Listener, Outcome
from stmbench.analyses.images import ImageAnalysis, ImageRequest, Work
from stmbench.analyses.invariance.definitions import AUTHORS, InvarianceConfig, condition_of, perturbation
from stmbench.analyses.invariance.scores import Answers, curve, gather, soft_cross_entropy
from stmbench.analyses.loaded_model import LoadedModel
from stmbench.analyses.unit import Unit
from stmbench.data.loading import Batch
from stmbench.data.perturbations import Perturbation, Source
from stmbench.errors import UnitError
from stmbench.measure.proportions import paired_proportion_difference
from stmbench.measure.statistics import Interval
from stmbench.tables import Row, Store

METRICS: Final = ("consistency", "accuracy", "soft_cross_entropy", "consistency_on_correct")


FILE = "answers.npz"
UNMOVED: Final = {"translation": 0.0, "rotation": 0.0, "scale": 1.0}  # the levels at which nothing is transformed
LABELLED = ("accuracy", "consistency_on_correct")  # metrics that need labels


class Invariance(ImageAnalysis):
    """How predictions change with one kind of perturbation; how they do so more or less than those of a control.

    Args:
        control: a model of the request; default: the one without mixing, if there is one.
    """

    def __init__(
        self,
        config: InvarianceConfig,
        request: ImageRequest,
        store: Store,
        *,
        control: str | None = None,
        listener: Listener | None = None,
    ) -> None:
        self.name = f"invariance_{config.kind}"  # type: ignore[misc]
        super().__init__(request, store, listener=listener)
        self.config, self.levels = config, config.chosen_levels
        self.labelled = self.images.labels() is not None
        self._control = self.control_model(control)

    @property
    def definition(self) -> str:
        return self.config.definition

    def headline(self, unit: Unit) -> str | None:
        return "consistency"

    def plan(self) -> Iterator[tuple[Unit, Work]]:
        for model, unit in self._answered().items():
            yield unit, self._work_of(unit, model)

    def units(self) -> Iterator[Unit]:
        yield from super().units()
        yield from self.comparison(self._answered(), self._control, self._differences)

    def _answered(self) -> dict[str, Unit]:
        """Model -> the unit of its answers."""
        conditions: dict[str, Any] = {"levels": list(self.levels)}
        if self.config.protocol == AUTHORS:
            conditions["transforms"] = "PIL"  # answers from before their transforms were theirs are measured again
        return {model: self.unit("answers", model, conditions) for model in self.request.models}

    def _work_of(self, unit: Unit, model: str) -> Work:
        def work() -> Outcome:
            loaded = self.labelled_model(model) if self.labelled else self.loaded_model(model)
            config = self.config
            made = perturbation(
                config.kind,
                config.protocol,
                loaded.preprocessing,
                fill=config.fill,
                order=config.order,
                seed=self.seed,
            )
            batches, parts, done = self.batches(made.prepare), [], 0
            for batch in batches:
                parts.append(self._answers(loaded, made, batch, done))
                done += len(batch)
            answers = gather(parts)
            path = self.store.artifact(unit.key, FILE)
            answers.write(path)
            rows = list(self._rows(loaded, answers, self.store.place(path)))
            return Outcome(rows=rows, notes=self.damage(batches, loaded))

        return work

    def _answers(self, loaded: LoadedModel, made: Perturbation, batch: Batch, done: int) -> dict[str, Tensor]:
        """One batch at every level: what `Answers` holds, on the CPU."""
        pairs = zip(batch.items, batch.indices, strict=True)
        sources = [Source(pixels=item.to(loaded.device), index=index) for item, index in pairs]
        shape = (len(self.levels), len(sources))
        predicted = torch.full(shape, -1, dtype=torch.int64)
        entropy, moved = (torch.full(shape, float("nan"), dtype=torch.float64) for _ in range(2))
        reference = loaded.logits(made.reference(sources))
        for place, level in enumerate(self.levels):
            share = done + len(sources) * place / len(self.levels)
            self.say(f"{self.config.kind} of {loaded.name}", share, len(self.indices))
            able = [number for number, source in enumerate(sources) if made.supplies(source, level)]
            if not able:
                continue
            logits = loaded.logits(made.make([sources[number] for number in able], level))
            predicted[place, able] = logits.argmax(1).cpu()
            entropy[place, able] = soft_cross_entropy(logits, reference[able])
            shifts = torch.tensor([made.displacement(sources[number], level) for number in able], dtype=torch.float64)
            moved[place, able] = shifts.norm(dim=1)
        labels = torch.full((len(sources),), -1) if batch.labels is None else batch.labels
        return {"indices": torch.tensor(batch.indices), "labels": labels, "reference": reference.argmax(1).cpu(),
                "predicted": predicted, "cross_entropy": entropy, "moved": moved}  # fmt: skip

    def _rows(self, loaded: LoadedModel, answers: Answers, artifact: str) -> Iterator[Row]:
        count = len(answers.indices)
        condition = condition_of(self.config.kind, self.config.protocol, self.config.order)
        known: dict[str, Any] = {"artifact": artifact, "condition": condition, "num_images": count}
        for level, supplied in zip(self.levels, answers.supplied(), strict=True):
            if supplied < count:
                reason = (
                    f"{count - supplied} of {count} images end before {level:g} {self._unit}; --pad reflect goes beyond"
                )
                missing = {**known, "artifact": None, "level": level, "status": "skipped", "reason": reason}
                yield self.image_row(loaded, "consistency", None, kind="summary", **missing)
        if not (answers.supplied() == count).any():
            raise UnitError(f"no level is supplied by all {count} images; lower --levels, or --pad reflect")
        for metric in METRICS:
            if metric in LABELLED and not answers.is_labelled:
                continue
            unmoved = UNMOVED[self.config.kind]
            intervals = curve(answers, metric, self.levels, seed=self.seed, unmoved=unmoved)
            if intervals is None:
                continue
            for level, interval in zip(intervals.levels, intervals.intervals, strict=True):
                yield self.interval_row(loaded, metric, interval, level=level, **known)
            if intervals.area is not None:
                yield self.interval_row(loaded, f"{metric}_auc", intervals.area, level=intervals.levels[-1], **known)
        if self.config.kind == "translation":
            for place, level in enumerate(self.levels):
                if answers.supplied()[place] == count:
                    mean = Interval(
                        estimate=float(answers.moved[place].mean()), low=float("nan"), high=float("nan"), count=count
                    )
                    yield self.interval_row(loaded, "displacement", mean, level=level, **known)

    def _differences(self, units: Mapping[str, Unit]) -> Iterator[Row]:
        """Of each model to the control at each level, over the images that both have at all levels that are drawn."""
        found = {model: Answers.read(self.store.artifact(unit.key, FILE)) for model, unit in units.items()}
        assert self._control is not None
        for model, answers in found.items():
            if model == self._control:
                continue
            common = np.intersect1d(answers.indices, found[self._control].indices)
            sides = answers.on(common), found[self._control].on(common)
            known = {
                "kind": "summary",
                "baseline": self._control,
                "weights": units[model].weights[0],
                "condition": condition_of(self.config.kind, self.config.protocol, self.config.order),
                "dataset": self.images.column,
                "split": self.images.split,
                "dtype": self.request.dtype,
                "resolution": self.store.metadata(units[model].key).get("resolution"),
            }
            for metric in ("consistency", "accuracy") if self.labelled else ("consistency",):
                for place, level in enumerate(self.levels):
                    if not all((side.predicted[place] >= 0).all() for side in sides):
                        continue
                    hits = [side.table(metric)[0][place] == 1 for side in sides]
                    paired = paired_proportion_difference(hits[0], hits[1])
                    if metric == "consistency" and level == UNMOVED[self.config.kind]:  # by definition
                        paired = dataclasses.replace(paired, low=0.0, high=0.0)
                    ends = {"ci_low": paired.low, "ci_high": paired.high, "num_samples": paired.count}
                    yield self.row(metric=f"{metric}_difference", value=paired.estimate, model=model, level=level,
                                   num_images=paired.count, **ends, **known)  # fmt: skip

    @property
    def _unit(self) -> str:
        return {"translation": "px", "rotation": "degrees", "scale": "of their side"}[self.config.kind]
