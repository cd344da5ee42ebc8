"""`similarity`: for each model a unit of work for its layers, for each pair of models one that compares them."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from stmbench.analyses.base import Listener, Outcome
from stmbench.analyses.feature_maps import Probe, probes_of
from stmbench.analyses.images import ImageAnalysis, ImageRequest, Work
from stmbench.analyses.loaded_model import LoadedModel
from stmbench.analyses.similarity.layers import END, Layers, Matrix, whole_maps
from stmbench.analyses.similarity.measures import (
    LEAST,
    Floats,
    centred_gram,
    cka,
    effective_rank,
    effective_rank_interval,
    uniformity,
)
from stmbench.analyses.similarity.options import (
    BLOCK,
    CKA,
    FIRST_TO_LAST,
    NAME,
    POOLED,
    RANK,
    UNIFORMITY,
    SimilarityOptions,
)
from stmbench.analyses.unit import Unit
from stmbench.architectures.feature_extractor import as_feature_extractor
from stmbench.errors import UnitError
from stmbench.measure.statistics import Interval
from stmbench.tables import Row, Store
from stmbench.tables.labels import size_text

GRAMS: Final = "grams.npz"
MATRIX: Final = "cka.npz"
UNTOUCHED: Final = "similarity.v1"  # definition of what --features does not change
CONSTANT: Final = "the features are the same for all images"
NOWHERE: Final = "a feature vector of norm 0 has no direction"


class SimilarityAnalysis(ImageAnalysis):
    """How alike the layers of each model of a request are, and those of different models.

    Args:
        control: a model of the request; default: the one without mixing, else the first.
    """

    name = NAME

    def __init__(
        self,
        options: SimilarityOptions,
        request: ImageRequest,
        store: Store,
        *,
        control: str | None = None,
        listener: Listener | None = None,
    ) -> None:
        super().__init__(request, store, listener=listener)
        self.options, self.minibatch = options, options.minibatch(len(self.indices))
        first = self.control_model(control) or request.models[0]
        self.couples = list(itertools.combinations(dict.fromkeys([first, *request.models]), 2))  # baseline, model
        self.chosen = [pair for pair in self.couples if options.pairs == "all" or first in pair]

    @property
    def definition(self) -> str:
        return self.options.definition

    def headline(self, unit: Unit) -> str | None:
        return RANK if unit.task == "layers" else CKA

    def plan(self) -> Iterator[tuple[Unit, Work]]:
        for model, unit in self._of_models().items():
            yield unit, functools.partial(self._layers, unit, model)

    def units(self) -> Iterator[Unit]:
        yield from super().units()
        done = {model: unit for model, unit in self._of_models().items() if self.is_done(unit)}
        for pair in self.chosen:
            if all(model in done for model in pair):
                unit = self._of_pair(*(done[model] for model in pair))
                self._work[unit.key] = functools.partial(self._pair, unit, *(done[model] for model in pair))
                yield unit
        rest = [pair for pair in self.couples if pair not in self.chosen and all(model in done for model in pair)]
        if rest:
            yield from self.comparison(done, next(iter(done)), lambda found: self._pooled_pairs(found, rest))

    def is_complete(self) -> bool:
        of_models = self._of_models()
        pairs = (self._of_pair(*(of_models[model] for model in pair)) for pair in self.chosen)
        return super().is_complete() and all(map(self.is_done, pairs))

    def _of_models(self) -> dict[str, Unit]:
        conditions = {"features": self.options.features, "batch": self.minibatch}
        return {model: self.unit("layers", model, conditions) for model in self.request.models}

    def _of_pair(self, baseline: Unit, other: Unit) -> Unit:
        sources = {"sources": [baseline.key, other.key]}
        both = {"models": baseline.models + other.models, "weights": baseline.weights + other.weights}
        plugins = {**baseline.plugins, **other.plugins}
        packages = {**baseline.packages, **other.packages}
        return self.unit("pair", baseline.models[0], sources, **both, plugins=plugins, packages=packages)

    def _layers(self, unit: Unit, model: str) -> Outcome:
        loaded = self.loaded_model(model)
        as_feature_extractor(loaded.model)
        places = [*(probe for probe in probes_of(loaded.model) if probe.place == "block"), None]
        grams: dict[Probe | None, list[Floats]] = {place: [] for place in places}
        means: dict[Probe | None, list[Tensor]] = {place: [] for place in places}
        batches, text = self.pixel_batches(loaded, batch_size=self.minibatch), f"layers of {model}"
        # of the only minibatch, whose size nobody asked for, unreadable images may be missing
        is_alone = self.options.batch is None and len(self.indices) == self.minibatch
        indices, done = list[int](), 0
        self.say(text, 0, len(self.indices))
        for batch in batches:
            is_whole = len(batch) == self.minibatch or (is_alone and len(batch) >= LEAST)
            indices += batch.indices if is_whole else ()
            for number, (place, maps) in enumerate(self._maps(loaded, places, batch.images)):
                features = maps if place is None else maps.mean((2, 3))
                means[place].append(features.double().cpu())
                if is_whole:
                    grams[place].append(centred_gram(maps if self.options.features == "flat" else features))
                self.say(text, done + (number + 1) / len(places) * len(batch), len(self.indices))
            done += len(batch)
        if not indices:
            got = f"{done} readable ones"
            raise UnitError(f"expected a minibatch of {self.minibatch} images, got {got}; lower --batch")
        numbers = [(END, END) if place is None else (place.stage, place.block) for place in places]
        layers = Layers(
            stages=np.array([stage for stage, _ in numbers]),
            blocks=np.array([block for _, block in numbers]),
            indices=np.array(indices),
            grams=np.stack([np.stack(grams[place]) for place in places]),
        )
        rows = self._rows(unit, loaded, layers, [torch.cat(means[place]).numpy() for place in places])
        notes = {"resolution": size_text(*loaded.preprocessing.size), "minibatches": len(layers.grams[0])}
        return Outcome(rows=rows, notes={**notes, **self.damage(batches)})

    def _maps(
        self, loaded: LoadedModel, places: Sequence[Probe | None], images: Tensor
    ) -> Iterator[tuple[Probe | None, Tensor]]:
        """`whole_maps`. Raises UnitError for NaN and infinite features."""
        probes = [place for place in places if place is not None]
        for place, maps in whole_maps(loaded, probes, images, self.request.batch_size):
            if not bool(torch.isfinite(maps).all()):
                where = "pooled" if place is None else f"after {place.module}"
                raise UnitError(f"expected finite features, got NaN or infinite ones {where}; try --dtype fp32")
            yield place, maps

    def _rows(self, unit: Unit, loaded: LoadedModel, layers: Layers, means: Sequence[Floats]) -> list[Row]:
        path, rows = self.store.artifact(unit.key, GRAMS), []
        layers.write(path)
        for number, features in enumerate(means):
            stage, block = int(layers.stages[number]), int(layers.blocks[number])
            is_end = stage == END
            at = {"condition": POOLED} if is_end else {"condition": BLOCK, "stage": stage, "block": block}
            at |= {"definition": UNTOUCHED, "num_images": len(features), "level": number + 1.0}
            rank = effective_rank_interval(features) if is_end else without_ends(effective_rank(features), features)
            rows.append(self._row(loaded, RANK, rank, CONSTANT, **at, artifact=self.store.place(path)))
            rows.append(self._row(loaded, UNIFORMITY, uniformity(features), NOWHERE, **at))
        matrix = self.store.artifact(unit.key, MATRIX)
        Matrix.of(layers, layers).write(matrix)
        last = len(means) - 2  # block
        facts = {"condition": FIRST_TO_LAST, "num_images": len(layers.indices), "artifact": self.store.place(matrix)}
        rows.append(self._row(loaded, CKA, cka(layers.grams[0], layers.grams[last]), CONSTANT, **facts))
        return rows

    def _row(self, loaded: LoadedModel, metric: str, interval: Interval, reason: str, **columns: Any) -> Row:
        """The interval; a value that does not exist is skipped with the reason."""
        if math.isnan(interval.estimate):
            missing: dict[str, Any] = {"kind": "summary", "status": "skipped", "reason": reason}
            return self.image_row(loaded, metric, None, **missing, **columns)
        return self.interval_row(loaded, metric, interval, **columns)

    def _pair(self, unit: Unit, baseline: Unit, other: Unit) -> Outcome:
        reference, layers = self._read(baseline), self._read(other)
        path = self.store.artifact(unit.key, MATRIX)
        if not np.array_equal(reference.indices, layers.indices):
            raise UnitError("expected both models' features of the same images, got others; run again with --fresh")
        Matrix.of(layers, reference).write(path)
        rows = [self._pair_row(baseline, other, reference, layers, artifact=self.store.place(path))]
        return Outcome(rows=rows)

    def _pooled_pairs(self, units: Mapping[str, Unit], pairs: Iterable[tuple[str, str]]) -> Iterator[Row]:
        """Of pairs that are not compared layer by layer."""
        read = {model: self._read(unit) for model, unit in units.items()}
        for one, other in pairs:
            if np.array_equal(read[one].indices, read[other].indices):
                yield self._pair_row(units[one], units[other], read[one], read[other])

    def _read(self, unit: Unit) -> Layers:
        return Layers.read(self.store.artifact(unit.key, GRAMS))

    def _pair_row(self, baseline: Unit, other: Unit, reference: Layers, layers: Layers, **columns: Any) -> Row:
        interval = cka(layers.grams[-1], reference.grams[-1])
        missing = math.isnan(interval.estimate)
        low, high = (None if math.isnan(end) else end for end in (interval.low, interval.high))
        return self.row(
            metric=CKA,
            value=None if missing else interval.estimate,
            model=other.models[0],
            weights=other.weights[0],
            baseline=baseline.models[0],
            kind="summary",
            condition=POOLED,
            dataset=self.images.column,
            split=self.images.split,
            num_images=interval.count,
            num_samples=interval.count,
            ci_low=low,
            ci_high=high,
            dtype=self.request.dtype,
            resolution=self.store.metadata(other.key).get("resolution"),
            **({"status": "skipped", "reason": CONSTANT} if missing else {}),
            **columns,
        )


def without_ends(value: float, features: Floats) -> Interval:
    """A value without an interval."""
    return Interval(estimate=value, low=math.nan, high=math.nan, count=len(features))
