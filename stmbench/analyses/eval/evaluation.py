"""`eval`: accuracy, calibration and likelihood on a labelled set. docs/definitions/evaluation.md has the formulas."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from stmbench.analyses.base import Listener, Outcome
from stmbench.analyses.images import ImageAnalysis, ImageRequest, Work
from stmbench.analyses.loaded_model import LoadedModel
from stmbench.analyses.unit import Unit
from stmbench.data.image_selection import require_labels
from stmbench.data.image_set import ImageSet
from stmbench.data.loading import Batch
from stmbench.errors import ConfigError
from stmbench.measure.bootstrap import mean_intervals
from stmbench.measure.calibration import calibration_error
from stmbench.measure.proportions import paired_proportion_difference, proportion
from stmbench.measure.statistics import Interval
from stmbench.tables import Row, Store
from stmbench.tables.files import replacing

TOP = 5
ONE_ANSWER = ("nll", "brier")  # have no meaning where several answers are right
FILE = "predictions.parquet"

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predictions:
    """What a model said of N images; every array is (N,). `rank` is the number of classes put before the label."""

    indices: NDArray[np.int64]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: Floats  # the largest probability
    rank: NDArray[np.int64]
    nll: Floats  # minus the logarithm of the label's probability
    brier: Floats  # squared distance of the probabilities from the label's one-hot vector

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(N,) whether the first class is the label."""
        return np.asarray(self.rank == 0)

    def frame(self, images: ImageSet) -> pd.DataFrame:
        """One row an image, with its name."""
        columns = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        names = [images.title(int(index)) for index in self.indices]
        return pd.DataFrame({"image": names, **columns}).rename(columns={"indices": "index", "labels": "label"})


class Evaluation(ImageAnalysis):
    """Accuracy, top-5 accuracy, calibration error, negative log-likelihood and Brier score of each model.

    Args:
        keep_predictions: whether each unit leaves its predictions, image by image, in a Parquet file beside its part.
        control: a model of the request; the accuracy of every other one is also given minus this one's, with an
            interval over pairs of answers to the same image (Agresti and Min 2005). Needs the predictions.

    Raises:
        InputError: a set without labels.
    """

    name = "eval"
    knows_several_answers = True

    def __init__(
        self,
        request: ImageRequest,
        store: Store,
        *,
        keep_predictions: bool = False,
        control: str | None = None,
        listener: Listener | None = None,
    ) -> None:
        super().__init__(request, store, listener=listener)
        if control is not None and control not in request.models:
            raise ConfigError("a control among the models", repr(control), "add it to --models")
        self.keep_predictions, self.control = keep_predictions or control is not None, control
        if self.images.labels() is None:
            require_labels(self.images, self.indices, 0)

    @property
    def definition(self) -> str:
        return "eval.v1"

    def headline(self, unit: Unit) -> str | None:
        return "accuracy"

    def plan(self) -> Iterator[tuple[Unit, Work]]:
        for model in self.request.models:
            unit = self.unit("predictions", model)
            wanted = self.keep_predictions and not self.store.artifact(unit.key, FILE).is_file()
            if wanted and self.store.has(unit.key):
                self.store.remove(unit.key)  # a part written without them is not enough
            yield unit, self._work_of(unit, model)

    def units(self) -> Iterator[Unit]:
        yield from super().units()
        units = {model: self.unit("predictions", model) for model in self.request.models}
        yield from self.comparison(units, self.control, lambda done: self._differences([*done.values()]))

    def _differences(self, units: list[Unit]) -> list[Row]:
        """accuracy_difference of each model to the control, over the images that both could read."""
        predictions = {unit.models[0]: pd.read_parquet(self.store.artifact(unit.key, FILE)) for unit in units}
        hits = {model: (frame.set_index("index")["rank"] == 0) for model, frame in predictions.items()}
        assert self.control is not None
        control, rows = hits[self.control], []
        for unit in units:
            (model,) = unit.models
            if model == self.control:
                continue
            common = control.index.intersection(hits[model].index)
            paired = paired_proportion_difference(hits[model][common].to_numpy(), control[common].to_numpy())
            ends = {"ci_low": paired.low, "ci_high": paired.high, "num_samples": paired.count}
            rows.append(
                self.row(
                    metric="accuracy_difference",
                    value=paired.estimate,
                    model=model,
                    baseline=self.control,
                    kind="summary",
                    weights=unit.weights[0],
                    dataset=self.images.column,
                    split=self.images.split,
                    num_images=paired.count,
                    dtype=self.request.dtype,
                    **ends,
                )
            )
        return rows

    def _work_of(self, unit: Unit, model: str) -> Work:
        def work() -> Outcome:
            loaded = self.labelled_model(model)
            batches = self.pixel_batches(loaded)
            parts: list[dict[str, Tensor]] = []
            done = 0
            self.say(f"evaluating {model}", 0, len(self.indices))
            for batch in batches:
                assert batch.labels is not None
                logits = loaded.logits(batch.images)
                judged = judge(logits, self._right(logits, batch))
                parts.append({"indices": torch.tensor(batch.indices), **judged})
                done += len(batch)
                self.say(f"evaluating {model}", done, len(self.indices))
            arrays: dict[str, Any] = {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}
            predictions = Predictions(**arrays)
            rows = [
                self.interval_row(loaded, metric, interval, num_images=interval.count)
                for metric, interval in scores(predictions, loaded.num_classes, seed=self.seed).items()
                if self.images.answers is None or metric not in ONE_ANSWER
            ]
            if self.keep_predictions:
                rows.append(self._kept(unit, loaded, predictions))
            return Outcome(rows=rows, notes={"num_classes": loaded.num_classes, **self.damage(batches, loaded)})

        return work

    def _right(self, logits: Tensor, batch: Batch) -> Tensor:
        """(B,) labels; where several are right, the one that the model puts first."""
        assert batch.labels is not None
        answers = self.images.answers
        if answers is None:
            return batch.labels
        found = [
            max(answers[index], key=lambda label: (row[label], -label))
            for index, row in zip(batch.indices, logits.tolist(), strict=True)
        ]
        return torch.tensor(found)

    def _kept(self, unit: Unit, loaded: LoadedModel, predictions: Predictions) -> Any:
        path = self.store.artifact(unit.key, FILE)
        with replacing(path) as temporary:
            predictions.frame(self.images).to_parquet(temporary, compression="zstd", index=False)
        count = len(predictions.labels)
        place = self.store.place(path)
        return self.image_row(loaded, "predictions", count, kind="raw", num_images=count, artifact=place)


def judge(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """The per-image fields of `Predictions`, on the CPU, from (B, classes) logits and (B,) labels on it.

    Of equal logits the class with the lower number goes first, as in argmax: low precision makes many of them equal.
    """
    scores, labels = logits.double(), labels.to(logits.device)
    logs = scores.log_softmax(1)
    chosen = labels[:, None]
    own = scores.gather(1, chosen)
    numbers = torch.arange(scores.shape[1], device=scores.device)
    before = (scores > own) | ((scores == own) & (numbers < chosen))
    probabilities = logs.exp()
    label_probability = probabilities.gather(1, chosen)[:, 0]
    found = {
        "labels": labels,
        "predicted": scores.argmax(1),
        "confidence": probabilities.amax(1),
        "rank": before.sum(1),
        "nll": -logs.gather(1, chosen)[:, 0],
        "brier": probabilities.square().sum(1) - 2 * label_probability + 1,
    }
    return {name: value.cpu() for name, value in found.items()}


def scores(predictions: Predictions, num_classes: int, *, seed: int) -> dict[str, Interval]:
    """metric -> interval. Top-5 accuracy only where there are more than five classes: else it is 1 by definition."""
    shares = {"accuracy": proportion(predictions.correct)}
    if num_classes > TOP:
        shares["accuracy_top5"] = proportion(predictions.rank < TOP)
    means = mean_intervals(np.stack([predictions.nll, predictions.brier], axis=1), seed=seed)
    shares |= dict(zip(("nll", "brier"), means, strict=True))
    correct = predictions.correct.astype(np.float64)
    return {**shares, "calibration_error": calibration_error(predictions.confidence, correct, seed=seed)}
