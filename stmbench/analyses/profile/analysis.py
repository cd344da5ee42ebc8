"""Profile, the analysis: a unit of costs for each resolution and model, then the timings of each setting."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from stmbench.analyses.base import Analysis, Listener, Outcome, Progress
from stmbench.analyses.models import (
    build_model,
    counting_device,
    design_size,
    outputs_of,
    own_weights,
    packages_of,
    plugin_hashes,
)
from stmbench.analyses.profile.config import ProfileConfig, Setting
from stmbench.analyses.profile.costs import model_costs, operator_costs
from stmbench.analyses.profile.setting import SettingRun
from stmbench.analyses.profile.tasks import Tasks
from stmbench.analyses.profile.timing_harness import TimingHarness
from stmbench.analyses.unit import Unit
from stmbench.architectures.catalog import ModelName
from stmbench.architectures.mixer_contribution import faint_mixers
from stmbench.data.embedded import photos
from stmbench.errors import ConfigError, InputError, StmbenchError
from stmbench.kernels import setting as kernels
from stmbench.measure.backend_settings import require_dtype
from stmbench.measure.clock import Timer, timer_for
from stmbench.tables import Store

HEADLINES = {
    "costs": "macs",
    "batch": "throughput",
    "shared_batch": "throughput",
    "memory": "peak_memory",
    "rounds": "throughput",
    "parts": "part_time",
    "energy": "energy",
}


class Profile(Analysis):
    """Compares the models of a config.

    Args:
        config: what was asked for.
        timer: measures seconds; by default the one that suits the device.
    """

    name = "profile"
    tuned = True

    def __init__(
        self, config: ProfileConfig, store: Store, *, listener: Listener | None = None, timer: Timer | None = None
    ) -> None:
        super().__init__(store=store, seed=config.seed, device=config.device, listener=listener)
        for dtype in config.dtypes:
            require_dtype(dtype, config.device)
        kernels.choice()  # refuses an unknown word now, rather than in the middle
        self.config = config
        self.timer = timer or timer_for(config.device)
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        self.threads = torch.get_num_threads()
        self._work: dict[str, Callable[[], Outcome]] = {}

    @property
    def definition(self) -> str:
        return self.config.definition

    def is_complete(self) -> bool:
        """Whether every setting has its summary, or, where nothing is timed, every model its costs.

        The units of a timed profile depend on one another, so they cannot be listed beforehand.
        """
        config, store = self.config, self.store
        task = "summary" if config.timing else "costs"
        keys = store.keys(analysis="profile", task=task, definition=self.definition, seed=config.seed, status="ok")
        parts = [(set(part["models"]), part["conditions"]) for part in map(store.metadata, keys)]
        for side in config.resolutions or (None,):
            for dtype in config.dtypes if config.timing else (None,):
                wanted = {"images": config.images, "resolution": side and list(side), "dtype": dtype}
                wanted = {name: value for name, value in wanted.items() if value is not None}
                same = [models for models, facts in parts if all(facts.get(name) == wanted[name] for name in wanted)]
                together = same if config.timing else [set[str]().union(*same)]
                if not any(set(config.models) <= models for models in together):
                    return False
        return True

    def headline(self, unit: Unit) -> str | None:
        return HEADLINES.get(unit.task)

    def measure(self, unit: Unit) -> Outcome:
        return self._work.pop(unit.key)()

    def remarks(self) -> list[str]:
        return self.watch.caveats if self.config.timing else []

    def units(self) -> Iterator[Unit]:
        if self.config.images == "photos":
            photos((32, 32), count=1)  # fail now, rather than in every unit, if they are not available
        self._refuse_compiled_detectors()
        sizes = self._design_sizes()
        if not self.config.timing and self.config.resolutions is None:  # counts are of one model, timings of them all
            self.store.require_writable()
            for model in self.config.models:
                size = sizes.get(model, (224, 224))
                yield self._costs(Setting(resolution=size, dtype=self.config.dtypes[0]), model)
            return
        settings = self._settings(sizes)
        self.store.require_writable()  # not before: what was refused until here leaves no folder
        costs: dict[tuple[int, int], list[Unit]] = {}
        for setting in settings:
            if setting.resolution not in costs:
                costs[setting.resolution] = [self._costs(setting, model) for model in self.config.models]
                yield from costs[setting.resolution]
        for setting in settings if self.config.timing else ():
            run = SettingRun(self, setting, costs[setting.resolution])
            try:
                yield from run.units()
            finally:
                run.bench.close()

    def unit(
        self,
        task: str,
        models: tuple[str, ...],
        conditions: Mapping[str, Any],
        work: Callable[[], Outcome],
        *,
        timed: bool = True,
        **rest: Any,
    ) -> Unit:
        """A unit of this run and what measuring it means; `timed` ones depend on the machine and on torch's version."""
        packages = {"torch": self.software["torch"], "kernels": kernels.identity()} if timed else {}
        unit = Unit(
            analysis=self.name,
            definition=self.definition,
            task=task,
            models=models,
            weights=tuple(own_weights(model, self.seed) for model in models),
            conditions=conditions,
            seed=self.seed,
            machine=self.machine if timed else None,
            plugins=plugin_hashes(models),
            packages={**packages, **packages_of(models, self.software)},
            **rest,
        )
        self._work[unit.key] = work
        return unit

    def say(self, text: str, **numbers: float | None) -> None:
        """Tell the listener."""
        self.tell(Progress(text=text, **numbers))  # type: ignore[arg-type]

    def _costs(self, setting: Setting, model: str) -> Unit:
        config = self.config
        tasks = Tasks(self, TimingHarness(config, setting, self.timer))
        count = model_costs if config.level == "model" else operator_costs

        def work() -> Outcome:
            self.say(f"counting {model}")
            outcome = tasks.costs(model, count(model, setting.resolution, seed=config.seed))
            built = build_model(model, seed=config.seed, device=counting_device(model))
            said = {**outputs_of(model, built), **faint_mixers(model, built, setting.resolution)}
            return dataclasses.replace(outcome, notes={**outcome.notes, **said})

        conditions = {"resolution": setting.resolution, "images": config.images}
        return self.unit("costs", (model,), conditions, work, timed=False)

    def _refuse_compiled_detectors(self) -> None:
        for name in map(ModelName.parse, self.config.models if self.config.level == "model" else ()):
            if self.config.compile and name.detector is not None:
                remedy = f"leave out --compile, or profile its backbone, {name.backbone}"
                raise ConfigError("models that are one graph, for --compile", f"the detector {name.text}", remedy)

    def _design_sizes(self) -> dict[str, tuple[int, int]]:
        """Of each model; building each once also refuses wrong options before anything is written."""
        sizes = {}
        for name in self.config.models:
            try:
                sizes[name] = design_size(name)
            except (StmbenchError, KeyboardInterrupt):
                raise
            except BaseException:
                continue  # its code fails: its units say so, and the others go on
        return sizes

    def _settings(self, sizes: Mapping[str, tuple[int, int]]) -> list[Setting]:
        """What the models are compared in. Raises InputError for models without a common resolution."""
        if self.config.resolutions is None and len(set(sizes.values())) > 1:
            got = ", ".join(f"{height}x{width}" for height, width in dict.fromkeys(sizes.values()))
            raise InputError("models of one design size", got, "give --resolution, or --no-timing to count alone")
        return list(self.config.settings(next(iter(sizes.values()), (224, 224))))
