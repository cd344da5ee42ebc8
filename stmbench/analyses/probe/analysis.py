"""`probe`: kNN and linear classifiers of frozen features. docs/definitions/probe.md has the formulas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stmbench.analyses.base import Listener, Outcome
from stmbench.analyses.images import ImageAnalysis, ImageRequest, Work
from stmbench.analyses.loaded_model import damage
from stmbench.analyses.probe.bank import open_bank
from stmbench.analyses.probe.features import Features, shared_classes, unknown_classes
from stmbench.analyses.probe.linear import fit_linear
from stmbench.analyses.probe.options import (
    CHOICE,
    COSINE,
    DEFAULT_K,
    DIFFERENCE,
    FEATURES,
    HELD_OUT,
    KNN,
    KNN_TOP5,
    LINEAR,
    NAME,
    SHOWN_K,
    ProbeOptions,
)
from stmbench.analyses.unit import Unit
from stmbench.data.image_selection import replacement_images
from stmbench.data.loading import PixelCache, batches
from stmbench.data.preprocessing import Preprocessing
from stmbench.measure.nearest_neighbours import knn_classes, nearest_neighbours
from stmbench.measure.proportions import paired_proportion_difference, proportion
from stmbench.measure.statistics import Interval
from stmbench.tables import Row, Store
from stmbench.tables.files import read_arrays, write_arrays
from stmbench.tables.labels import size_text

TOP = 5
FILE, PREDICTIONS = "features.npz", "predictions.npz"
BANK, QUERIES = "bank", "queries"


class Probe(ImageAnalysis):
    """Features of the bank and of the queries, and classifiers that only see them.

    Args:
        control: the model that the accuracies of the others are compared with; default: the one without mixing.

    Raises:
        ConfigError: more neighbours than images of the bank, a split that does not exist or is used twice, classes
            that differ between the splits.
        InputError: images without labels.
    """

    name = NAME

    def __init__(
        self,
        options: ProbeOptions,
        request: ImageRequest,
        store: Store,
        *,
        control: str | None = None,
        listener: Listener | None = None,
    ) -> None:
        super().__init__(request, store, listener=listener)
        self.options, self.control = options, self.control_model(control)
        self.bank, self.bank_indices = open_bank(options, request, self.images, self.indices)
        self.k = options.neighbours(len(self.bank_indices)) if "knn" in options.methods else ()
        self._pixels: dict[str, tuple[Preprocessing, PixelCache]] = {}

    @property
    def definition(self) -> str:
        return self.options.definition(self.options.methods[0])

    def remarks(self) -> list[str]:
        dropped = [k for k in DEFAULT_K if self.options.k is None and self.k and k not in self.k]
        few = f"the bank has {len(self.bank_indices)} images: no k of {', '.join(map(str, dropped))}"
        return [*super().remarks(), *self.bank.remarks, *([few] if dropped else [])]

    def headline(self, unit: Unit) -> str | None:
        return {"features": FEATURES, "knn": KNN, "linear": LINEAR, "comparison": DIFFERENCE}[unit.task]

    def plan(self) -> Iterator[tuple[Unit, Work]]:
        for model in self.request.models:
            for part, unit in self._features_units(model).items():
                yield unit, self._features_work(unit, model, part)
            for method in dict.fromkeys(self.options.methods):
                unit = self._score_unit(method, model)
                yield unit, self._score_work(unit, model)

    def units(self) -> Iterator[Unit]:
        for unit in super().units():
            needed = [] if unit.task == "features" else self._features_units(unit.models[0]).values()
            if all(map(self.is_done, needed)):  # of features that failed there is nothing to judge
                yield unit
        for method in dict.fromkeys(self.options.methods):
            units = {model: self._score_unit(method, model) for model in self.request.models}
            yield from self.comparison(units, self.control, self._differences)

    def _features_units(self, model: str) -> dict[str, Unit]:
        """Those of the bank and of the queries: what they are a function of, no method among it."""
        definition = self.options.definition("features")
        of_bank = {"dataset": self.bank.fingerprint(), "num_images": len(self.bank_indices)}
        return {
            BANK: self.unit("features", model, of_bank, definition=definition),
            QUERIES: self.unit("features", model, definition=definition),
        }

    def _score_unit(self, method: str, model: str) -> Unit:
        options = self.options
        settings: dict[str, dict[str, Any]] = {
            "knn": {"k": list(self.k), "temperature": options.temperature},
            "linear": {"solver": options.solver, "epochs": options.epochs if options.solver == "sgd" else None},
        }
        features = [unit.key for unit in self._features_units(model).values()]
        definition = options.definition(method)
        return self.unit(method, model, {"features": features, **settings[method]}, definition=definition)

    def _features_work(self, unit: Unit, model: str, part: str) -> Work:
        def work() -> Outcome:
            loaded = self.loaded_model(model)
            images, indices = (self.bank, self.bank_indices) if part == BANK else (self.images, self.indices)
            request, wanted = self.request, loaded.preprocessing
            if part not in self._pixels or self._pixels[part][0] != wanted:
                self._pixels[part] = wanted, PixelCache()
            read = batches(
                images, indices, wanted.pixels, batch_size=request.batch_size, workers=request.workers,
                limit_corrupt=request.limit_corrupt, cache=self._pixels[part][1],
                spare=lambda: replacement_images(images, len(indices), request.seed),
            )  # fmt: skip
            found = Features.of(
                loaded, read, lambda done: self.say(f"features of the {part}, {model}", done, len(indices))
            )
            path = self.store.artifact(unit.key, FILE)
            found.write(path)
            known: dict[str, Any] = {"definition": unit.definition, "num_images": len(found.labels)}
            known |= {"dataset": images.column, "split": images.split}
            place = self.store.place(path)
            rows = [self.image_row(loaded, FEATURES, found.features.shape[1], artifact=place, condition=part, **known)]
            notes = damage(read, images)
            if part == BANK:
                cosine = _exact(found.mean_cosine, len(found.labels))
                rows.append(self.interval_row(loaded, COSINE, cosine, **known))
                if (why := found.collapse) is not None:
                    label = f"{model} ({loaded.weights})"
                    notes = _warned(notes, f"collapsed {label}", f"collapsed: {label}: {why}; its probes say nothing")
            return Outcome(rows=rows, notes=notes)

        return work

    def _score_work(self, unit: Unit, model: str) -> Work:
        def work() -> Outcome:
            if self._loaded is None or self._loaded[0] != model:
                self._notes = {}  # those of another model
            bank, queries = (
                Features.read(self.store.artifact(one.key, FILE)) for one in self._features_units(model).values()
            )
            self.say(f"{unit.task} probe of {model}", 0, 1)
            found = self._knn(unit, bank, queries) if unit.task == "knn" else self._linear(unit, bank, queries)
            notes = found.notes
            if lost := unknown_classes(bank, queries):
                notes = _warned(notes, "classes", lost)
            return Outcome(rows=found.rows, notes=notes)

        return work

    def _knn(self, unit: Unit, bank: Features, queries: Features) -> Outcome:
        labels, wanted, classes = shared_classes(bank, queries)
        cosines, neighbours = nearest_neighbours(
            torch.from_numpy(bank.features), torch.from_numpy(queries.features), max(self.k), device=self.device
        )
        top = TOP if len(classes) > TOP else 1
        ranked = knn_classes(
            cosines, labels[neighbours], k=self.k, temperature=self.options.temperature, num_classes=len(classes),
            top=top,
        )  # fmt: skip
        right: dict[int, NDArray[np.bool_]] = {k: (ranked[k] == wanted[:, None]).numpy() for k in self.k}  # (Q, top)
        place = self._keep(unit, queries, {f"k{k}": classes[ranked[k][:, 0].numpy()] for k in self.k})
        rows = []
        for k in self.k:
            at = {"level": k, "artifact": place}
            rows.append(self._interval(unit, queries.size, KNN, proportion(right[k][:, 0]), **at))
            if top == TOP:
                rows.append(self._interval(unit, queries.size, KNN_TOP5, proportion(np.asarray(right[k].any(1))), **at))
        return Outcome(rows=rows, notes={"bank": len(bank.labels)})

    def _linear(self, unit: Unit, bank: Features, queries: Features) -> Outcome:
        labels, wanted, classes = shared_classes(bank, queries)
        solver = self.options.solver
        probe = fit_linear(
            torch.from_numpy(bank.features), labels, num_classes=len(classes), solver=solver,
            epochs=self.options.epochs, seed=self.seed, device=self.device,
        )  # fmt: skip
        predicted = probe.predict(torch.from_numpy(queries.features))
        place = self._keep(unit, queries, {"linear": classes[predicted.numpy()]})
        right = proportion((predicted == wanted).numpy())
        chosen = _exact(probe.chosen, probe.held_out_count)
        at = {"condition": solver, "artifact": place}
        size, held = queries.size, {"kind": "raw", "split": self.bank.split, "condition": solver}
        rows = [self._interval(unit, size, LINEAR, right, **at), self._interval(unit, size, CHOICE, chosen, **at)]
        for candidate, score in probe.held_out.items():
            found = _exact(score, probe.held_out_count)
            rows.append(self._interval(unit, size, HELD_OUT, found, level=candidate, **held))
        return Outcome(rows=rows, notes={"bank": len(bank.labels), "chosen": probe.chosen})

    def _keep(self, unit: Unit, queries: Features, predicted: Mapping[str, NDArray[np.int64]]) -> str:
        """Write the predictions of each query; the value of the column `artifact`."""
        path = self.store.artifact(unit.key, PREDICTIONS)
        write_arrays(path, {"indices": queries.indices, "labels": queries.labels, "size": queries.size, **predicted})
        return self.store.place(path)

    def _interval(self, unit: Unit, size: NDArray[np.int64], metric: str, interval: Interval, **columns: Any) -> Row:
        low, high = (None if end != end else end for end in (interval.low, interval.high))
        known = {
            "kind": "summary",
            "definition": unit.definition,
            "weights": unit.weights[0],
            "dataset": self.images.column,
            "split": self.images.split,
            "num_images": interval.count,
            "dtype": self.request.dtype,
            "resolution": size_text(*map(int, size)),
            "ci_low": low,
            "ci_high": high,
            "num_samples": interval.count,
        }
        return self.row(metric=metric, value=interval.estimate, model=unit.models[0], **{**known, **columns})

    def _differences(self, done: dict[str, Unit]) -> list[Row]:
        """Accuracy of each model minus the control's, on the queries that both could read."""
        assert self.control is not None
        shown = min(self.k, key=lambda k: abs(k - SHOWN_K), default=None)
        answers = {model: read_arrays(self.store.artifact(unit.key, PREDICTIONS)) for model, unit in done.items()}
        hits = {}
        for model, found in answers.items():
            predicted = found.get(f"k{shown}", found.get("linear"))
            hits[model] = dict(zip(found["indices"].tolist(), (predicted == found["labels"]).tolist(), strict=True))
        control, rows = hits[self.control], []
        for model, unit in done.items():
            if model == self.control:
                continue
            common = [index for index in control if index in hits[model]]
            ours, theirs = (np.array([side[index] for index in common]) for side in (hits[model], control))
            at = {"condition": "knn", "level": shown} if unit.task == "knn" else {"condition": self.options.solver}
            paired = paired_proportion_difference(ours, theirs)
            rows.append(self._interval(unit, answers[model]["size"], DIFFERENCE, paired, baseline=self.control, **at))
        return rows


def _exact(value: float, count: int) -> Interval:
    return Interval(estimate=value, low=np.nan, high=np.nan, count=count)


def _warned(notes: Mapping[str, Any], kind: str, text: str) -> dict[str, Any]:
    """The notes with one more warning."""
    disturbance = {"kind": kind, "amount": 1.0, "text": text}
    return {
        **notes,
        "warnings": [*notes.get("warnings", ()), text],
        "disturbances": [*notes.get("disturbances", ()), disturbance],
    }
