"""`invariance_translation`, `invariance_rotation`, `invariance_scale`: a unit of work for each model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stmbench.analyses.base import Listener, Outcome
from stmbench.analyses.images import ImageAnalysis, ImageRequest, Work
from stmbench.analyses.invariance.definitions import AUTHORS, InvarianceConfig, condition_of, perturbation
from stmbench.analyses.loaded_model import LoadedModel
from stmbench.analyses.unit import Unit
from stmbench.data.loading import Batch
from stmbench.data.perturbations import Perturbation, Source
from stmbench.errors import UnitError
from stmbench.measure.bootstrap import mean_intervals
from stmbench.measure.proportions import mean_proportion, proportion
from stmbench.measure.statistics import Interval
from stmbench.tables import Row, Store
from stmbench.tables.files import write_arrays

Floats = NDArray[np.float64]
METRICS: Final = ("consistency", "accuracy", "soft_cross_entropy", "consistency_on_correct")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answers:
    """Of N images at L levels. `labels` and `reference` (the untransformed prediction) are (N,), -1 where unlabelled;
    `predicted`, `cross_entropy` and `moved` (pixels) are (L, N). At a level that an image does not supply it has
    prediction -1 and NaN.
    """

    indices: NDArray[np.int64]
    labels: NDArray[np.int64]
    reference: NDArray[np.int64]
    predicted: NDArray[np.int64]
    cross_entropy: Floats
    moved: Floats

    @property
    def is_labelled(self) -> bool:
        """Whether accuracy can be said."""
        return bool((self.labels >= 0).all())

    def supplied(self) -> NDArray[np.int64]:
        """(L,) images at each level."""
        return np.asarray((self.predicted >= 0).sum(1))

    def table(self, metric: str) -> tuple[Floats, NDArray[np.bool_]]:
        """(L, N) per-image values of a metric, and (N,) the images that it is a mean over."""
        everyone = np.ones(len(self.indices), dtype=bool)
        same = (self.predicted == self.reference).astype(np.float64)
        match metric:
            case "consistency":
                return same, everyone
            case "accuracy":
                return (self.predicted == self.labels).astype(np.float64), everyone
            case "soft_cross_entropy":
                return self.cross_entropy, everyone
            case _:
                return same, self.reference == self.labels

    def write(self, path: Path) -> None:
        """As an .npz file, at once."""
        write_arrays(path, {field.name: getattr(self, field.name) for field in dataclasses.fields(self)})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """A metric at each level that every image supplies, and the area under it over the range of these levels."""

    metric: str
    levels: tuple[float, ...]
    intervals: tuple[Interval, ...]
    area: Interval | None


def soft_cross_entropy(logits: Tensor, reference: Tensor) -> Tensor:
    """(B, K) logits, and those of the untransformed images -> (B,) float64 nats, on the CPU.

    -sum_k p_k log q_k, with p the softmax of the reference and q that of `logits`.
    """
    target = reference.double().softmax(1)
    entropy: Tensor = -(target * logits.double().log_softmax(1)).sum(1)
    return entropy.cpu()


def curve(
    answers: Answers, metric: str, levels: tuple[float, ...], *, seed: int, unmoved: float | None = None
) -> Curve | None:
    """One metric over the levels, with intervals over images; None where no image counts.

    The area is by trapezoids, divided by the range, so that it is a mean over levels: of a perfect consistency it is 1.

    Args:
        unmoved: the level at which nothing is transformed: there consistency is 1 by definition, and certain.
    """
    values, counted = answers.table(metric)
    full = np.flatnonzero(answers.supplied() == len(answers.indices))
    order = sorted(full.tolist(), key=lambda place: levels[place])
    if not order or not counted.any():
        return None
    chosen = values[order][:, counted].T  # images, levels
    places = np.array([levels[place] for place in order])
    area = None
    if len(order) > 1:
        weights = np.zeros(len(order))
        steps = np.diff(places) / (places[-1] - places[0])
        weights[:-1] += steps / 2
        weights[1:] += steps / 2
        area = chosen @ weights
    if metric == "soft_cross_entropy":
        joined = chosen if area is None else np.concatenate([chosen, area[:, None]], axis=1)
        intervals = mean_intervals(joined, seed=seed)
        of_area = None if area is None else intervals[-1]
    else:
        intervals = [proportion(column == 1) for column in chosen.T]
        of_area = None if area is None else mean_proportion(np.clip(area, 0, 1))
        if metric != "accuracy":
            known = Interval(estimate=1.0, low=1.0, high=1.0, count=len(chosen))
            intervals = [known if place == unmoved else one for place, one in zip(places, intervals, strict=True)]
    return Curve(metric=metric, levels=tuple(places.tolist()), intervals=tuple(intervals[: len(order)]), area=of_area)


def gather(parts: list[dict[str, Tensor]]) -> Answers:
    """Batches put together; per-image arrays are (B,), per-level ones (L, B)."""
    joined = {name: torch.cat([part[name] for part in parts], dim=-1).numpy() for name in parts[0]}
    return Answers(**joined)


FILE = "answers.npz"
LABELLED = ("accuracy", "consistency_on_correct")  # metrics that need labels


class Invariance(ImageAnalysis):
    """How predictions change with one kind of perturbation."""

    def __init__(
        self, config: InvarianceConfig, request: ImageRequest, store: Store, *, listener: Listener | None = None
    ) -> None:
        self.name = f"invariance_{config.kind}"  # type: ignore[misc]
        super().__init__(request, store, listener=listener)
        self.config, self.levels = config, config.chosen_levels
        self.labelled = self.images.labels() is not None

    @property
    def definition(self) -> str:
        return self.config.definition

    def headline(self, unit: Unit) -> str | None:
        return "consistency"

    def plan(self) -> Iterator[tuple[Unit, Work]]:
        for model in self.request.models:
            conditions: dict[str, Any] = {"levels": list(self.levels)}
            if self.config.protocol == AUTHORS:
                conditions["transforms"] = "PIL"  # answers from before their transforms were theirs are measured again
            unit = self.unit("answers", model, conditions)
            yield unit, self._work_of(unit, model)

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
            unmoved = 1.0 if self.config.kind == "scale" else 0.0
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

    @property
    def _unit(self) -> str:
        return {"translation": "px", "rotation": "degrees", "scale": "of their side"}[self.config.kind]
