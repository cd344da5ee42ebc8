"""`erf`: a unit of work for each model, a row for each stage, definition and percentage, the maps in a file beside."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import torch

from stmbench.analyses.base import Listener, Outcome
from stmbench.analyses.erf.definitions import ErfConfig, definitions
from stmbench.analyses.erf.stage_maps import StageMaps, gradient_maps
from stmbench.analyses.erf.stages import Stage, chosen_stages
from stmbench.analyses.erf.unit_location import Grid, grids, probe
from stmbench.analyses.images import ImageAnalysis, ImageRequest, Work
from stmbench.analyses.loaded_model import LoadedModel
from stmbench.analyses.models import meta_model
from stmbench.analyses.unit import Unit
from stmbench.errors import UnitError
from stmbench.tables import Row, Store
from stmbench.tables.writing import write_arrays

FILE = "maps.npz"
METRIC: Final = "erf"  # the percentage of the mass is the row's level


class Erf(ImageAnalysis):
    """Effective receptive fields of the models of a request."""

    name = "erf"

    def __init__(
        self, config: ErfConfig, request: ImageRequest, store: Store, *, listener: Listener | None = None
    ) -> None:
        super().__init__(request, store, listener=listener)
        self.config = config

    @property
    def definition(self) -> str:
        return self.config.definitions[0]

    def headline(self, unit: Unit) -> str | None:
        return METRIC

    def plan(self) -> Iterator[tuple[Unit, Work]]:
        config = self.config
        for model in self.request.models:
            stages = None if config.stages is None else list(config.stages)
            if stages is not None:
                self._require_stages(model, stages)
            # the metric's name and the centre's rule: rows from before them are measured again
            rules = {"metric": METRIC, "centre": "reachable"}
            conditions: dict[str, Any] = {"stages": stages, "percents": list(config.percents), **rules}
            unit = self.unit("maps", model, {**conditions, "definitions": list(config.definitions)})
            yield unit, self._work_of(unit, model)

    @staticmethod
    def _require_stages(model: str, stages: list[int]) -> None:
        """Refuse stages that the model has not, before anything is written. Raises ConfigError."""
        with contextlib.suppress(UnitError):  # a model without stages fails when its turn comes
            chosen_stages(meta_model(model), stages)

    def _work_of(self, unit: Unit, model: str) -> Work:
        def work() -> Outcome:
            subject = self.subject(model)
            stages = chosen_stages(subject.model, self.config.stages)
            found = located(subject, stages)
            size = subject.preprocessing.size
            gathered = [StageMaps(grid, size, len(self.indices)) for grid in found]
            loaded, done = self.pixel_batches(subject), 0
            self.say(f"gradients of {model}", 0, len(self.indices))
            for batch in loaded:
                maps = gradient_maps(subject.model, stages, subject.input(batch.images))
                for stage, part in zip(gathered, maps, strict=True):
                    stage.add(part)
                done += len(batch)
                self.say(f"gradients of {model}", done, len(self.indices))
            empty = [str(s.number + 1) for s, g in zip(stages, gathered, strict=True) if not g.mean("magnitude").any()]
            if empty:
                raise UnitError(f"the gradient of stage {', '.join(empty)} is zero on every image")
            rows = self._rows(subject, stages, gathered, self._kept(unit, stages, gathered))
            notes = {"centre_assumed": [grid.assumed for grid in found], **self.damage(loaded)}
            return Outcome(rows=rows, notes=notes)

        return work

    def _rows(self, subject: LoadedModel, stages: list[Stage], gathered: list[StageMaps], artifact: str) -> list[Row]:
        rows = []
        for stage, maps in zip(stages, gathered, strict=True):
            for size in maps.sizes(definitions(self.config.definitions), self.config.percents, seed=self.seed):
                columns = {"stage": stage.number, "level": size.percent, "artifact": artifact}
                columns |= {"definition": size.definition.name, "num_images": maps.seen}
                rows.append(self.interval_row(subject, METRIC, size.interval, **columns))
        return rows

    def _kept(self, unit: Unit, stages: list[Stage], gathered: list[StageMaps]) -> str:
        """Write the mean maps and where their units are; returns the file's place in the store."""
        arrays: dict[str, Any] = {}
        for stage, maps in zip(stages, gathered, strict=True):
            number = stage.number
            arrays[f"magnitude_{number}"] = maps.mean("magnitude").astype(np.float32)
            arrays[f"rectified_{number}"] = maps.mean("rectified").astype(np.float32)
            arrays[f"centre_{number}"] = np.array(maps.grid.centre)
            arrays[f"map_size_{number}"] = np.array(maps.grid.size)
        path = self.store.artifact(unit.key, FILE)
        write_arrays(path, arrays)
        return self.store.place(path)


def located(subject: LoadedModel, stages: list[Stage]) -> list[Grid]:
    """Where the units of each stage are on the model's input."""
    height, width = subject.preprocessing.size
    blank = subject.input(torch.full((1, 3, height, width), 0.5))
    maps, calls = probe(subject.model, stages, blank)
    return grids((height, width), [(m.shape[2], m.shape[3]) for m in maps], calls)
