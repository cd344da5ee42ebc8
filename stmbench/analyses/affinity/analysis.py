"""Affinity, the analysis: for each model a unit of numbers and one of maps, or one of its Jacobian affinity."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor, nn

from stmbench.analyses.affinity.layers import Layer, check_choice
from stmbench.analyses.affinity.maps import pictures
from stmbench.analyses.affinity.options import AffinityConfig
from stmbench.analyses.affinity.studies import Jacobians, Maps, MissingAffinities, Numbers, visit
from stmbench.analyses.affinity.study import Finding, Study
from stmbench.analyses.base import Listener, Outcome
from stmbench.analyses.images import ImageAnalysis, ImageRequest, Work
from stmbench.analyses.unit import Unit
from stmbench.data.loading import Batches
from stmbench.errors import InputError, UnitError
from stmbench.mixers.affinity import JACOBIAN_INSTEAD
from stmbench.tables import Row, Store
from stmbench.tables.files import write_arrays

MAPS = "maps.npz"
NO_AFFINITY = f"the mixer has no affinity: {JACOBIAN_INSTEAD}"
NO_MASS = "nothing of the row lies on the map"
STUDIES: dict[str, type[Study]] = {study.task: study for study in (Numbers, Maps, Jacobians)}


class AffinityAnalysis(ImageAnalysis):
    """Looks at the affinities of a request's models.

    `units` raises InputError for a layer, position or head that a model has not, and where no model has an affinity and
    none is to be taken from the Jacobian.
    """

    name = "affinity"

    def __init__(
        self, config: AffinityConfig, request: ImageRequest, store: Store, *, listener: Listener | None = None
    ) -> None:
        super().__init__(request, store, listener=listener)
        self.config = config
        self._instead: list[str] = []  # models of which the Jacobian's affinity stands in for their own

    @property
    def definition(self) -> str:
        return Jacobians.definition if self.config.is_jacobian else Study.definition

    def headline(self, unit: Unit) -> str | None:
        return STUDIES[unit.task].metric

    def plan(self) -> Iterator[tuple[Unit, Work]]:
        config = self.config
        free = {model: check_choice(model, config, self.request.resolution) for model in self.request.models}
        if config.jacobian == "none" and all(found.all for found in free.values()):  # one of several gets rows
            without = ", ".join(self.request.models)
            raise InputError("a mixer that is a linear map of its values", f"{without}, without any", JACOBIAN_INSTEAD)
        places = {"positions": config.positions, "layers": config.layers, "per_image": config.per_image}
        for model, found in free.items():
            is_auto, radii = config.jacobian == "auto", {"radii": config.radii}
            of_jacobian = {**places, "of": config.jacobian if config.is_jacobian else "mixer", **radii}
            if config.is_jacobian or (is_auto and found.all):
                self._instead += [] if config.is_jacobian else [model]
                yield self._study(Jacobians, model, of_jacobian)
                continue
            yield self._study(Numbers, model, radii)
            if not (is_auto and found.every_chosen):
                yield self._study(Maps, model, {**places, "heads": config.heads})
            if is_auto and found.some:
                yield self._study(MissingAffinities, model, {**of_jacobian, "layers_without": "affinity"})

    def remarks(self) -> list[str]:
        words = "has no affinity of its own: the Jacobian affinity of the mixer is shown"
        return [*super().remarks(), *(f"{model} {words}" for model in self._instead)]

    def _study(self, kind: type[Study], model: str, conditions: dict[str, Any]) -> tuple[Unit, Work]:
        unit = self.unit(kind.task, model, conditions, definition=kind.definition)

        def work() -> Outcome:
            loaded = self.loaded_model(model)
            study = kind(loaded, self.config, seed=self.seed)
            batches, shown = self._show(study)
            if len(study.without) == len(study.layers):
                raise UnitError(NO_AFFINITY)
            rows = [self._row(study, finding, len(shown["indices"])) for finding in study.findings()]
            if study.maps:
                rows += self._map_rows(unit, study, shown)
            skipped: dict[str, Any] = {"status": "skipped", "reason": NO_AFFINITY, "kind": "summary"}
            rows += [
                self.image_row(loaded, study.metric, None, stage=layer.stage, block=layer.block, **skipped)
                for layer in study.without
            ]
            return Outcome(rows=rows, notes={"layers": len(study.layers), **self.damage(batches)})

        return unit, work

    def _show(self, study: Study) -> tuple[Batches, dict[str, Any]]:
        """Every batch to the study, layer by layer; the batches, and what a map needs to know of the images."""
        batches = self.pixel_batches(study.loaded)
        text, total = f"{study.words} of {study.loaded.name}", len(self.indices)
        indices: list[int] = []
        shown: list[Any] = []
        self.say(text, 0, total)
        for batch in batches:
            before, seen = len(indices), 0

            def look(layer: Layer, module: nn.Module, x: Tensor) -> None:
                nonlocal seen
                study.look(layer, module, x)
                seen += 1
                # taken from the loop at once: the pass ends within this turn of it
                self.say(text, before + seen / len(study.layers) * len(x), total)  # noqa: B023

            visit(study.loaded, study.layers, batch.images, look)
            indices += batch.indices
            if self.config.per_image:
                shown.append(pictures(batch.images))
        if not indices:
            raise UnitError("no image was left to look at")
        pixels = {"images": np.concatenate(shown)} if shown else {}
        return batches, {"indices": np.asarray(indices), **pixels}

    def _row(self, study: Study, finding: Finding, images: int) -> Row:
        loaded, item, layer = study.loaded, finding.item, finding.layer
        columns: dict[str, Any] = {
            "definition": study.definition,
            "stage": layer.stage,
            "block": layer.block,
            "head": item.head,
            "position": finding.position,
            "condition": finding.condition,
            "level": item.level,
            "num_images": images,
        }
        if item.interval.estimate != item.interval.estimate:
            columns |= {"kind": "summary", "status": "skipped", "reason": NO_MASS}
            return self.image_row(loaded, item.metric, None, **columns)
        return self.interval_row(loaded, item.metric, item.interval, **columns)

    def _map_rows(self, unit: Unit, study: Study, shown: dict[str, Any]) -> list[Row]:
        """Write the maps, and say which row of which layer is in the file."""
        path = self.store.artifact(unit.key, MAPS)
        arrays = dict(shown)
        for maps in study.maps.values():
            arrays |= maps.arrays()
        write_arrays(path, arrays)
        place = self.store.place(path)
        return [
            self.image_row(
                study.loaded,
                "affinity_map",
                None,
                kind="summary",
                definition=study.definition,
                num_images=len(shown["indices"]),
                stage=layer.stage,
                block=layer.block,
                position=position,
                condition=part,
                artifact=place,
            )
            for layer, maps in study.maps.items()
            for part in maps.parts
            for position in maps.positions
        ]
