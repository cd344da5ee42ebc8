"""A plug-in whose units take as long as they are told and compute nothing: what is left is the work around a unit."""

from __future__ import annotations

import dataclasses
import functools
import os
import time
from collections.abc import Iterator
from typing import Final

import numpy as np

from stmbench.analyses.base import Analysis, Listener, Outcome
from stmbench.analyses.images import ImageAnalysis, ImageRequest, Work
from stmbench.analyses.options import ImageOptions, RunSettings, option
from stmbench.analyses.registry import AnalysisSpec, Metric, register_analysis
from stmbench.tables import Store

SCORE: Final = Metric(name="simulated_score", unit="1", title="simulated score", better="higher")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SimulatedOptions(ImageOptions):
    """How long a unit takes, and where it is written down that it was begun."""

    duration: float = option(0.0, help="Seconds that a unit sleeps.")
    log: str = option("", help="A file that gets a line for each unit that is measured.", metavar="FILE")

    def analysis(self, run: RunSettings, store: Store, listener: Listener | None = None) -> Analysis:
        return Simulated(self, self.request(run), store, listener=listener)


class Simulated(ImageAnalysis):
    """A random number for each model and seed."""

    name = "simulated"

    def __init__(
        self, options: SimulatedOptions, request: ImageRequest, store: Store, *, listener: Listener | None = None
    ) -> None:
        super().__init__(request, store, listener=listener)
        self.options = options

    @property
    def definition(self) -> str:
        return "simulated.v1"

    def plan(self) -> Iterator[tuple[object, Work]]:  # type: ignore[override]
        for model in self.request.models:
            yield self.unit("score", model), functools.partial(self._measured, model)

    def _measured(self, model: str) -> Outcome:
        if self.options.log:
            line = f"{model} {self.seed}\n".encode()
            descriptor = os.open(self.options.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.write(descriptor, line)  # at once, whoever else writes
            os.close(descriptor)
        time.sleep(self.options.duration)
        value = float(np.random.default_rng([self.seed, *model.encode()]).random())
        return Outcome(rows=[self.row(metric=SCORE.name, value=value, model=model, kind="summary")])


register_analysis(
    AnalysisSpec(name="simulated", title="Simulated", summary="A number.", options=SimulatedOptions, metrics=(SCORE,))
)
