"""The units of one setting, in order.

A unit a subject for the batch size and one for peak memory, blocks of rounds of all subjects together until the ratios
are resolved or the time is spent, a unit a subject for the time by part and for energy, and the summary. What decides
the next unit is read from the store, never remembered: a run that was killed decides the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import torch

from stmbench.analyses.base import Outcome
from stmbench.analyses.models import DTYPES
from stmbench.analyses.profile.config import Setting
from stmbench.analyses.profile.samples import Key, Samples, name_of
from stmbench.analyses.profile.tasks import Tasks, passes_for
from stmbench.analyses.profile.timing_harness import BatchPlan, TimingHarness
from stmbench.analyses.unit import Unit
from stmbench.architectures.catalog import ModelName
from stmbench.architectures.detectors.base import DETECTORS
from stmbench.measure.energy import energy_counter_for
from stmbench.measure.machine_watch import external_load
from stmbench.tables.labels import FEWEST_ROUNDS

if TYPE_CHECKING:
    from stmbench.analyses.profile.analysis import Profile


class SettingRun:
    """One setting of a profile; `costs` are its models' units of costs, which are done by now."""

    def __init__(self, profile: Profile, setting: Setting, costs: list[Unit]) -> None:
        self.profile, self.config, self.setting = profile, profile.config, setting
        self.bench = TimingHarness(profile.config, setting, profile.timer)
        self.tasks = Tasks(profile, self.bench)
        self.samples = Samples()
        self._costs = profile.store.read([unit.key for unit in costs])

    def units(self) -> Iterator[Unit]:
        """The units of work of this setting."""
        keys, fixed = self._subjects(), self.config.batch_size
        if fixed is not None:
            # a child process finds out first whether the batch fits: the kernel may kill it without ending this run
            keys = yield from self._memory(keys, fixed)
        trials = {key: self._trial(key) for key in keys}
        yield from trials.values()
        alive = {key: unit for key, unit in trials.items() if self.profile.is_done(unit)}
        if not alive:
            return
        batch = self._common_batch(alive)
        if fixed is None:
            shared = self._shared(alive, batch)
            yield shared
            if not self.profile.is_done(shared):
                return
            batch = int(self._notes(shared)["batch"])
            yield from self._memory(list(alive), batch)
        loads = self._loads(alive, batch)
        self.samples.subjects = list(loads)
        yield from self._rounds(loads, batch)
        if self.samples.sampled:
            yield from self._after(self.samples.sampled, batch)
            yield self._summary(self.samples.sampled, batch)

    def _subjects(self) -> list[Key]:
        models = self.config.models
        if self.config.level == "model":
            return [(model, None) for model in models]
        macs = self._costs[(self._costs["metric"] == "macs") & (self._costs["status"] == "ok")]
        return [(model, int(stage)) for model, stage in zip(macs["model"], macs["stage"].tolist(), strict=True)]

    def _trial(self, key: Key) -> Unit:
        def work() -> Outcome:
            fixed = self.config.batch_size
            self.profile.say(f"choosing the batch size: {name_of(key)}" if fixed is None else f"trying {name_of(key)}")
            return self.tasks.batch(key, self._cost(key, "activations"))

        return self._unit("batch", [key], work, batch_size=self.config.batch_size or "auto")

    def _memory(self, keys: list[Key], batch: int) -> Generator[Unit, None, list[Key]]:
        if self.config.level == "operator":
            return keys  # a mixer alone is small beside the process that would measure it
        fitting = []
        for key in keys:

            def work(key: Key = key) -> Outcome:
                self.profile.say(f"measuring memory: {name_of(key)}")
                return self.tasks.memory(key, batch)

            unit = self._unit("memory", [key], work, batch_size=batch)
            yield unit
            if self.profile.is_done(unit):
                fitting.append(key)
        return fitting

    def _common_batch(self, trials: dict[Key, Unit]) -> int:
        """One batch size for all: the largest that any of them chose, unless it does not fit another."""
        limits: list[int] = [limit for unit in trials.values() if (limit := self._notes(unit)["limit"]) is not None]
        return min([max(self._chosen_batch(unit) for unit in trials.values()), *limits])

    def _shared(self, trials: dict[Key, Unit], batch: int) -> Unit:
        def work() -> Outcome:
            return self.tasks.shared_batch(lambda size: self._loads(trials, size), batch)

        return self._unit("shared_batch", list(trials), work, batch_size=batch)

    def _loads(self, trials: dict[Key, Unit], batch: int) -> dict[Key, BatchPlan]:
        rates = {key: max(self._notes(unit)["rates"].values()) for key, unit in trials.items()}
        compiled = self.config.compile
        return {
            key: BatchPlan(batch=batch, passes=passes_for(batch, rate, compiled=compiled))
            for key, rate in rates.items()
        }

    def _rounds(self, loads: dict[Key, BatchPlan], batch: int) -> Iterator[Unit]:
        profile, config, samples = self.profile, self.config, self.samples
        series = self._unit("series", list(loads), _nothing).key
        while True:
            first = samples.rounds
            unit = self._unit(
                "rounds", list(loads), lambda: self._block(loads), series=series, batch_size=batch, first_round=first
            )
            if not profile.is_done(unit):
                spent = samples.seconds >= config.time_budget
                # the fewest rounds that say anything are run whatever the budget is
                if samples.is_enough and (spent or samples.is_resolved(config.target_width, seed=config.seed)):
                    return
            yield unit
            if not profile.is_done(unit):
                return  # the block failed, and its rows say why
            notes = self._notes(unit)
            taken = external_load(notes.get("disturbances", [])) if config.device == "cpu" else 0.0
            samples.add(profile.store.read([unit.key]), notes["sampling_seconds"], taken=taken)

    def _block(self, loads: dict[Key, BatchPlan]) -> Outcome:
        # before the block: working the intervals out takes longer than a short round does
        intervals = self.samples.intervals(seed=self.config.seed) if self.samples.is_enough else {}
        width = max((interval.relative_width for interval in intervals.values()), default=math.inf)
        return self.tasks.block(loads, self.samples, lambda number, spent: self._say_sampling(number, spent, width))

    def _after(self, keys: list[Key], batch: int) -> Iterator[Unit]:
        counter = energy_counter_for(self.config.device)
        for key in keys:

            def parts(key: Key = key) -> Outcome:
                self.profile.say(f"timing the parts: {name_of(key)}")
                return self.tasks.parts(key, batch)

            if self.config.level == "model":
                yield self._unit("parts", [key], parts, batch_size=batch)
            if counter is not None:

                def energy(key: Key = key) -> Outcome:
                    self.profile.say(f"measuring energy: {name_of(key)}")
                    assert counter is not None
                    return self.tasks.energy(key, batch, counter)

                yield self._unit("energy", [key], energy, batch_size=batch)

    def _summary(self, keys: list[Key], batch: int) -> Unit:
        width = torch.finfo(DTYPES[self.setting.dtype]).bits // 8
        done = [key for key in keys if self.config.mode == "infer" and not _has_regions(key)]
        macs = {key: found for key in done if (found := self._cost(key, "macs"))}
        # weights are read once a batch, everything else once an image
        traffic = {
            key: width * (self._cost(key, "elements_moved") - self._cost(key, "params") * (1 - 1 / batch))
            for key in macs
        }
        return self._unit("summary", keys, lambda: self.tasks.summary(self.samples, batch, macs, traffic), derived=True)

    def _unit(
        self,
        task: str,
        keys: list[Key],
        work: Callable[[], Outcome],
        *,
        series: str = "",
        derived: bool = False,
        **conditions: Any,
    ) -> Unit:
        config, setting = self.config, self.setting
        known = {
            "resolution": setting.resolution,
            "dtype": setting.dtype,
            "compile": config.compile,
            "device": config.device,
            "threads": self.profile.threads,
            "images": config.images,
            "stages": [stage for _, stage in keys],
        }
        models = tuple(model for model, _ in keys)
        return self.profile.unit(task, models, {**known, **conditions}, work, series=series, derived=derived)

    def _cost(self, key: Key, metric: str) -> float:
        """A cost for one image; 0 where counting failed."""
        frame = self._costs
        if frame.empty:
            return 0.0
        stage = frame["stage"].isna() if key[1] is None else frame["stage"] == key[1]
        rows = frame[(frame["metric"] == metric) & (frame["model"] == key[0]) & stage & (frame["status"] == "ok")]
        return float(rows["value"].iloc[0]) if len(rows) else 0.0

    def _chosen_batch(self, trial: Unit) -> int:
        return int(self.profile.store.read([trial.key])["value"].iloc[0])

    def _notes(self, unit: Unit) -> dict[str, Any]:
        return self.profile.store.metadata(unit.key)

    def _say_sampling(self, number: int, spent: float, width: float) -> None:
        """`width` is that of the widest interval before this block; infinite before there are rounds enough."""
        config, before = self.config, self.samples.seconds
        taken, rounds = before + spent, number + (spent > 0)
        left = config.time_budget - taken
        text = f"sampling {self.setting.dtype}, round {number + 1}"
        if rounds < FEWEST_ROUNDS:  # that many are run whatever the budget is
            text += f" of at least {FEWEST_ROUNDS}"
            left = max(left, taken / rounds * (FEWEST_ROUNDS - rounds)) if rounds else left
        if math.isfinite(width):
            text += f", widest interval {width:.1%} (wanted {config.target_width:.1%})"
            # an interval narrows with the square root of the rounds
            left = min(left, before * (width / config.target_width) ** 2 - taken)
        done = min(taken, config.time_budget)
        self.profile.say(text, done=done, total=config.time_budget, seconds_left=max(0.0, left))


def _has_regions(key: Key) -> bool:
    """Whether it is a detector that computes less than its MACs say where it finds less than it may."""
    name, stage = ModelName.parse(key[0]), key[1]
    return stage is None and name.detector is not None and "proposals" in DETECTORS.get(name.detector).options()


def _nothing() -> Outcome:
    return Outcome(rows=[])
