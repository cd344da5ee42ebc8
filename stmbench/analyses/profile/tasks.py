"""The tasks of one setting: what measuring each kind of unit gives."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch

from stmbench.analyses.base import Outcome
from stmbench.analyses.profile.costs import Cost, PartClock, left_out, parts_of, peak_of
from stmbench.analyses.profile.samples import LATENCIES, LATENCY_REPEATS, Key, Samples, summaries
from stmbench.analyses.profile.timed_models import TimedModel, TrainStep
from stmbench.analyses.profile.timing_harness import COMPUTE, COPY, BatchPlan, TimingHarness, fitting
from stmbench.architectures.detectors.pyramid import Described
from stmbench.architectures.detectors.set_prediction import SetDetector
from stmbench.errors import InputError, UnitError
from stmbench.kernels import setting as kernels
from stmbench.measure.bootstrap import median_interval
from stmbench.measure.energy import EnergyCounter, joules_per_image
from stmbench.measure.throughput_batch import is_out_of_memory
from stmbench.tables import Row

if TYPE_CHECKING:
    from stmbench.analyses.profile.analysis import Profile

MIN_SAMPLE_SECONDS = 0.02  # a shorter sample would be the clock's and the scheduler's
COMPILED_GAIN = 2.0  # how many times as fast a compiled model may be as the eager one that its batch was chosen with
BLOCK_SECONDS = 5.0  # of sampling in one part: what a killed run loses at most, and one round at least
PART_REPEATS = 5


class Tasks:
    """One setting of a profile: its bench, and one method a task. `profile` lends its rows' common columns."""

    def __init__(self, profile: Profile, bench: TimingHarness) -> None:
        self.profile, self.bench = profile, bench
        self.config, self.setting = bench.config, bench.setting
        self._told: set[tuple[str, Key]] = set()  # what rows were given for

    def row(self, metric: str, value: float | None, key: Key | None = None, **columns: Any) -> Row:
        """A row of this setting; `key` names the subject, None the machine."""
        known = {
            "dtype": self.setting.dtype,
            "compile": self.config.compile,
            "resolution": self.setting.size,
            "dataset": self._dataset(self.config.images),
            "stage": key[1] if key else None,
        }
        return self.profile.row(metric=metric, value=value, model=key[0] if key else None, **{**known, **columns})

    def costs(self, model: str, found: list[Cost]) -> Outcome:
        """Costs without a clock; they depend on neither dtype nor device."""
        exact = {"kind": "summary", "dtype": None, "compile": None, "device": None}
        rows = [self.row(cost.metric, cost.value, (model, cost.stage), condition=cost.part, **exact) for cost in found]
        return Outcome(rows=rows, notes=left_out(model, found))

    def batch(self, key: Key, activations: float) -> Outcome:
        """The batch size of one subject: chosen, or the one asked for, tried."""
        if self.config.batch_size is None:
            choice = self.bench.choose_batch(key, activations)
            batch, limit, rates = choice.batch, choice.largest if choice.limited else None, choice.throughput
        else:
            batch = limit = self.config.batch_size
            try:
                rates = {batch: batch / self.bench.seconds(key, batch)}
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                raise InputError("a batch that fits into memory", f"{batch} images", "lower --batch-size") from error
        notes = {"limit": limit, "rates": {str(size): rate for size, rate in rates.items()}}
        return Outcome(rows=[self.row("batch_size", batch, key, kind="summary")], notes=notes)

    def memory(self, key: Key, batch: int) -> Outcome:
        """Peak memory of the eager model, on noise."""
        reading = peak_of(self.bench, key, batch, threads=self.profile.threads)
        # null rather than False beside compiled rows: it is their model's memory too
        compiled = None if self.config.compile else False
        columns = {"kind": "summary", "batch_size": batch, "compile": compiled, "dataset": self._dataset("noise")}
        row = self.row("peak_memory", reading.bytes, key, **columns)
        return Outcome(rows=[row], notes={"method": reading.method, "baseline_bytes": reading.baseline})

    def shared_batch(self, loads_at: Callable[[int], Mapping[Key, BatchPlan]], batch: int) -> Outcome:
        """The batch of all subjects: the one that suits them, halved while they do not fit into memory together."""
        smallest = 2 if self.config.mode == "train" else 1

        def tell(size: int) -> None:
            self.profile.say(f"trying all models together, batch {size}")

        fitted = fitting(self.bench, loads_at, batch, smallest=smallest, tell=tell)
        loads = loads_at(fitted)
        columns = {"kind": "summary", "condition": "shared"}
        rows = [self.row("batch_size", fitted, key, **columns) for key in loads if key not in self.bench.failures]
        return Outcome(rows=[*self._left_out(loads), *rows], notes={"batch": fitted, "wanted": batch})

    def block(self, loads: Mapping[Key, BatchPlan], samples: Samples, tell: Callable[[int, float], None]) -> Outcome:
        """Rounds, from where `samples` end, for BLOCK_SECONDS of sampling."""
        tell(samples.rounds, 0.0)
        self.bench.prepare(loads)
        rows, seconds = self._left_out(loads), 0.0
        if not samples.rounds:  # said once, by the first block
            for of, calls in self.bench.kernels.items():
                about = {"kind": "summary", "batch_size": loads[of].batch}
                rows += [self.row("kernel_calls", calls[name], of, condition=name, **about) for name in sorted(calls)]
        for round_ in self.bench.sample(first=samples.rounds):
            for (what, key), sample in round_:
                rows.append(self._raw(what, key, sample.round, sample.repeat, sample.seconds, loads))
                seconds += sample.seconds
            self.profile.watch.sample()
            tell(round_[0][1].round, seconds)
            if seconds >= BLOCK_SECONDS:
                break
        self.bench.require_same_graphs()
        notes = {
            "sampling_seconds": seconds,
            "latency_repeats": LATENCY_REPEATS,
            "passes": {f"{model} {stage}": load.passes for (model, stage), load in loads.items()},
            "clock": self.bench.timer.name,
            "allocator": self.bench.allocator,
            "kernels": kernels.facts(),
            **({"compiled": self.bench.graphs} if self.config.compile else {}),
        }
        return Outcome(rows=rows, notes=notes)

    def parts(self, key: Key, batch: int) -> Outcome:
        """Seconds per image by part of the network; of a training step, by phase too."""
        subject = self.bench.subject(key)
        clock = PartClock(subject.model, parts_of(subject.model), self.bench.timer)
        run = forward_of(subject, subject.arguments(batch))
        said = found_at_random(key[0], subject.model, run, batch)  # the hooks' first pass is no sample
        try:
            passes = [clock.measure(run) for _ in range(PART_REPEATS)]
        finally:
            clock.remove()
        rows = [
            self._by_part("part_time", part, [seconds[part] / batch for seconds in passes], key, batch)
            for part in passes[0]
        ]
        if self.config.mode == "train":
            rows += self._phases(subject, key, batch)
        notes = {"method": "hooks on modules, eager forward pass", "repeats": PART_REPEATS, **said}
        return Outcome(rows=rows, notes=notes)

    def energy(self, key: Key, batch: int, counter: EnergyCounter) -> Outcome:
        """Joules per image."""
        run = self.bench.subject(key).run(batch)
        run()
        value = joules_per_image(run, batch, counter, self.bench.timer)
        return Outcome(rows=[self.row("energy", value, key, kind="summary", batch_size=batch)])

    def summary(self, samples: Samples, batch: int, macs: Mapping[Key, float], traffic: Mapping[Key, float]) -> Outcome:
        """The summary rows of the setting."""
        summarised = summaries(
            samples, seed=self.config.seed, target_width=self.config.target_width, macs=macs, traffic=traffic
        )
        rows = [
            self.row(
                item.metric,
                item.interval.estimate,
                item.key,
                **{
                    "kind": "summary",
                    "batch_size": batch if item.key else None,
                    "ci_low": _number(item.interval.low),
                    "ci_high": _number(item.interval.high),
                    "num_samples": item.interval.count,
                    **item.columns,
                },
            )
            for item in summarised
        ]
        return Outcome(rows=rows, notes=samples.notes)

    def _left_out(self, loads: Mapping[Key, BatchPlan]) -> list[Row]:
        """Rows for what the bench cannot sample, once. Raises UnitError where it is everything."""
        failures = self.bench.failures
        if len(failures) == len(loads):
            raise UnitError(f"no model is left to sample: {next(iter(failures.values()))}")
        failed = [("throughput", "failed", key, reason, loads[key].batch) for key, reason in failures.items()]
        failed += [("latency_graph", "skipped", key, reason, 1) for key, reason in self.bench.uncaptured.items()]
        rows = [
            self.row(metric, None, key, status=status, reason=reason, batch_size=batch)
            for metric, status, key, reason, batch in failed
            if (metric, key) not in self._told
        ]
        self._told |= {(metric, key) for metric, _, key, _, _ in failed}
        return rows

    def _dataset(self, images: str) -> str:
        height, width = self.setting.resolution
        return f"{images}:3x{height}x{width}"

    def _raw(
        self, what: str, key: Key | None, number: int, repeat: int, seconds: float, loads: Mapping[Key, BatchPlan]
    ) -> Row:
        size = self.bench.probe.size
        if key is None:
            metric = {COMPUTE: "probe_peak", COPY: "probe_bandwidth"}[what]
            work = {COMPUTE: size.macs, COPY: size.bytes_moved}[what]
            return self.row(metric, work / seconds, sample=number)
        load = loads[key]
        if what in LATENCIES:
            return self.row(what, seconds, key, sample=number * LATENCY_REPEATS + repeat, batch_size=1)
        return self.row("throughput", load.batch * load.passes / seconds, key, sample=number, batch_size=load.batch)

    def _phases(self, subject: TimedModel, key: Key, batch: int) -> list[Row]:
        step = subject.run(batch)
        assert isinstance(step, TrainStep)
        step()
        seconds: dict[str, list[float]] = {}
        for _ in range(PART_REPEATS):
            for phase, run in step.phases().items():
                seconds.setdefault(phase, []).append(self.bench.timer.time(run) / batch)
        return [self._by_part("phase_time", phase, values, key, batch) for phase, values in seconds.items()]

    def _by_part(self, metric: str, name: str, values: list[float], key: Key, batch: int) -> Row:
        interval = median_interval(values, seed=self.config.seed)
        return self.row(
            metric,
            interval.estimate,
            key,
            kind="summary",
            condition=name,
            batch_size=batch,
            ci_low=interval.low,
            ci_high=interval.high,
            num_samples=interval.count,
            compile=False,
        )


def forward_of(subject: TimedModel, arguments: tuple[Any, ...]) -> Callable[[], object]:
    """One eager forward pass, in the mode the subject is in."""

    def forward() -> object:
        with torch.inference_mode(not subject.spec.train), subject.spec.precision():
            return subject.model(*arguments)

    return forward


def found_at_random(name: str, model: Any, run: Callable[[], Any], batch: int) -> dict[str, Any]:
    """Call `run` once. Notes on how much a detector's random weights find in an image, which its times depend on."""
    proposals: list[int] = []
    is_detector = isinstance(model, Described)
    network = getattr(model, "rpn", None) if is_detector else None
    hook = network and network.register_forward_hook(lambda _m, _i, output: proposals.extend(map(len, output[0])))
    try:
        output = run()
    finally:
        if hook:
            hook.remove()
    if not is_detector or model.training:
        return {}
    detections = sum(len(found["boxes"]) for found in output) / batch
    notes = {"detections_per_image": detections}
    if isinstance(model, SetDetector):
        return notes  # it finds equally many with any weights
    text, most = f"{detections:.0f} detections", ""
    if proposals:
        notes["proposals_per_image"] = sum(proposals) / batch
        text, most = f"{notes['proposals_per_image']:.0f} proposals and {text}", "; MACs are with the most"
    text = f"{name}: its random weights found {text} in an image, and times depend on how many{most}"
    disturbance = {"kind": f"found at random by {name}", "amount": detections, "text": text}
    return {**notes, "warnings": [text], "disturbances": [disturbance]}


def passes_for(batch: int, rate: float, *, compiled: bool = False) -> int:
    """Passes that make a sample of `batch` images at an eager `rate` in images/s long enough."""
    return max(1, math.ceil(MIN_SAMPLE_SECONDS * rate * (COMPILED_GAIN if compiled else 1) / batch))


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
