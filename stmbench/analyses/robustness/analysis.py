"""Robustness, the analysis: a unit for each model and attack, then what they say, of each model and of all."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor

from stmbench.analyses.base import Listener, Outcome, Progress
from stmbench.analyses.images import ImageAnalysis, ImageRequest, Work
from stmbench.analyses.robustness.attacks import ATTACKS, Attack, RobustnessConfig
from stmbench.analyses.robustness.fgsm import Target
from stmbench.analyses.robustness.outcomes import Outcomes
from stmbench.analyses.robustness.runner import Images, attack_images
from stmbench.analyses.robustness.summary import Summary, comparison_summaries, model_summaries, panel
from stmbench.analyses.unit import Unit
from stmbench.data.loading import Batches
from stmbench.tables import Row, Store
from stmbench.tables.labels import size_text

ARTIFACT = "predictions.npz"
OWN = "own_prediction"  # what is attacked where a set has no labels


class Robustness(ImageAnalysis):
    """Attacks the models of a request."""

    name = "robustness"

    def __init__(
        self, config: RobustnessConfig, request: ImageRequest, store: Store, *, listener: Listener | None = None
    ) -> None:
        super().__init__(request, store, listener=listener)
        self.config = config
        self.labelled = self.images.labels() is not None
        self._attacks: dict[tuple[str, str], Unit] = {}  # (model, attack) -> its unit
        self._passes_done, self._passes_left, self._passes_kept = 0.0, 0.0, 0.0

    @property
    def definition(self) -> str:
        return self.definition_of(ATTACKS[self.config.attacks[0]])

    def definition_of(self, attack: Attack) -> str:
        """The attack's protocol; it says so where the model's own predictions are attacked for want of labels."""
        protocol = attack.protocol(self.config.steps)
        return protocol if self.labelled else protocol.replace(".v", f".{OWN}.v", 1)

    def headline(self, unit: Unit) -> str | None:
        return "accuracy" if self.labelled else "consistency"

    def plan(self) -> Iterator[tuple[Unit, Work]]:
        for model in self.request.models:
            for attack in self.config.chosen():
                unit = self._attack_unit(model, attack)
                self._attacks[model, attack.name] = unit
                if self.is_done(unit):
                    self._passes_kept += self._passes(attack)
                else:
                    self._passes_left += self._passes(attack)
                yield unit, self._attack(unit, model, attack)

    def units(self) -> Iterator[Unit]:
        yield from super().units()
        for model in self.request.models:
            outcomes = self._outcomes({name: self._attacks[model, name] for name in self.config.attacks})
            if outcomes:
                yield self._derived("summary", (model,), self._summary(model, outcomes))
        for name in self.config.attacks:
            outcomes = self._outcomes({model: self._attacks[model, name] for model in self.request.models})
            if len(outcomes) > 1:
                yield self._derived(f"comparison of {name}", tuple(outcomes), self._comparison(name, outcomes))

    def _attack_unit(self, model: str, attack: Attack) -> Unit:
        conditions: dict[str, Any] = {"eps": list(self.config.eps)}
        if attack.iterates:  # its random start is drawn for a batch at a time
            conditions |= {"steps": self.config.steps, "batch_size": self.request.batch_size}
        return self.unit(attack.name, model, conditions, definition=self.definition_of(attack))

    def _attack(self, unit: Unit, model: str, attack: Attack) -> Work:
        kept = self.is_done(unit)

        def work() -> Outcome:
            if kept:  # it is measured all the same: the run is a fresh one, of every unit
                self._passes_left, self._passes_kept = self._passes_left + self._passes_kept, 0.0
            text, started = f"{attack.title} on {model}", time.monotonic()
            self._tell(text, 0.0, attack)
            loaded = self.labelled_model(model) if self.labelled else self.loaded_model(model)
            target = Target(loaded.model, loaded.preprocessing.normalise, device=str(loaded.device), dtype=loaded.dtype)
            batches = self.pixel_batches(loaded)
            total = len(self.indices)
            try:
                outcomes = attack_images(
                    target,
                    attack,
                    _plain(batches),
                    self.config.eps,
                    steps=self.config.steps,
                    seed=self.seed,
                    done=lambda images: self._tell(text, images / total, attack),
                )
            finally:
                target.release()
                self._passes_done += self._passes(attack)
                self._passes_left -= self._passes(attack)
            path = self.store.artifact(unit.key, ARTIFACT)
            outcomes.write(path)
            height, width = loaded.preprocessing.size
            columns = {
                "weights": loaded.weights,
                "definition": unit.definition,
                "artifact": self.store.place(path),
                "resolution": size_text(height, width),
                "batch_size": self.request.batch_size,
            }
            rows = [
                self._row(model, outcomes, metric=outcomes.metric, value=float(hits.mean()), level=eps, **columns)
                for eps, hits in outcomes.levels()
            ]
            notes = {"resolution": columns["resolution"], "preprocessing": loaded.preprocessing.facts}
            return Outcome(
                rows=rows,
                notes={**notes, "attack_seconds": time.monotonic() - started, **self.damage(batches, loaded)},
            )

        return work

    def _summary(self, model: str, found: Mapping[str, Outcomes]) -> Work:
        def work() -> Outcome:
            panels = panel(found)
            rows = [self._summary_row(model, found[item.attack], item) for item in model_summaries(found, panels)]
            broken = [verdict for checks in panels.values() for verdict in checks if not verdict.passes]
            if not broken:
                return Outcome(rows=rows)
            text = f"{model} breaks {len(broken)} checks of validity, its rows say which; the first: {broken[0].reason}"
            disturbance = {"kind": f"validity of {model}", "amount": float(len(broken)), "text": text}
            return Outcome(rows=rows, notes={"warnings": [text], "disturbances": [disturbance]})

        return work

    def _comparison(self, attack: str, found: Mapping[str, Outcomes]) -> Work:
        def work() -> Outcome:
            rows = [
                self._summary_row(str(item.model), found[str(item.model)], item)
                for item in comparison_summaries(attack, found)
            ]
            return Outcome(rows=rows)

        return work

    def _summary_row(self, model: str, outcomes: Outcomes, item: Summary) -> Row:
        unit, interval = self._attacks[model, item.attack], item.interval
        numbers = {"value": interval.estimate, "ci_low": interval.low, "ci_high": interval.high}
        known: dict[str, Any] = {
            "kind": "summary",
            "definition": unit.definition,
            "weights": unit.weights[0],
            "resolution": self.store.metadata(unit.key)["resolution"],
            "num_samples": interval.count,
            **{name: None if number != number else number for name, number in numbers.items()},
        }
        return self._row(model, outcomes, metric=item.metric, **{**known, **item.columns})

    def _row(self, model: str, outcomes: Outcomes, **columns: Any) -> Row:
        known = {
            "dataset": self.images.column,
            "split": self.images.split,
            "num_images": len(outcomes.indices),
            "dtype": self.request.dtype,
        }
        return self.row(model=model, **{**known, **columns})

    def _failed_rows(self, unit: Unit, reason: str) -> list[Row]:
        rows = super()._failed_rows(unit, reason)
        return [dataclasses.replace(row, definition=unit.definition) for row in rows]

    def _derived(self, task: str, models: tuple[str, ...], work: Work) -> Unit:
        sources = [unit.key for (model, _), unit in self._attacks.items() if model in models]
        weights = tuple(self._attacks[model, self.config.attacks[0]].weights[0] for model in models)
        unit = self.unit(task, models[0], {"sources": sources}, models=models, weights=weights, derived=True)
        self._work[unit.key] = work
        return unit

    def _outcomes(self, units: Mapping[str, Unit]) -> dict[str, Outcomes]:
        """What is there of these units: one that failed has no file."""
        done = {name: self.store.artifact(unit.key, ARTIFACT) for name, unit in units.items() if self.is_done(unit)}
        return {name: Outcomes.read(path) for name, path in done.items()}

    def _passes(self, attack: Attack) -> float:
        """Passes through the network for each image of a unit."""
        return float(attack.passes(len(self.config.eps), self.config.steps))

    def _tell(self, text: str, share: float, attack: Attack) -> None:
        """Where the run stands; the time left supposes passes to take as long as those so far, on any model."""
        here = share * self._passes(attack)
        done = self._passes_done + here
        spent = time.monotonic() - self._started
        left = spent / done * (self._passes_left - here) if done else None
        self.tell(Progress(text=text, done=share * len(self.indices), total=len(self.indices), seconds_left=left))


def _plain(batches: Batches) -> Iterable[Images]:
    for batch in batches:
        labels: Tensor | None = batch.labels
        yield batch.images, labels, batch.indices
