"""The subjects of one setting: in memory, warm, and timed. Everything here is rebuilt when a run is resumed."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable, Iterable, Mapping

import psutil
import torch

from stmbench.analyses.models import DTYPES
from stmbench.analyses.profile.config import ProfileConfig, Setting
from stmbench.analyses.profile.samples import LATENCIES, LATENCY_REPEATS, Key, name_of
from stmbench.analyses.profile.timed_models import TimedModel, TimedModelSpec
from stmbench.errors import InputError, UnitError, reason_of
from stmbench.kernels.setting import counted
from stmbench.measure import throughput_batch
from stmbench.measure.backend_settings import Compilation, give_back_memory, keep_freed_memory
from stmbench.measure.clock import Timer
from stmbench.measure.interleaving import Sample, rounds, warm_up
from stmbench.measure.latency import CacheFlush, ColdPass, WarmPass, cuda_graph_replay
from stmbench.measure.probe import Probe
from stmbench.measure.throughput_batch import is_out_of_memory

WARMUP_RUNS, WARMUP_SECONDS = 10, 2.0  # at most, a subject: on a busy machine nothing is ever steady
NO_GRAPH = "how much a detector computes depends on what it finds, which no CUDA graph can hold"
COMPUTE, COPY = "probe compute", "probe copy"
Name = tuple[str, Key | None]  # what is sampled, and of which subject


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """How a subject is sampled: images in a batch, and passes in a sample (several where one would be too short)."""

    batch: int
    passes: int = 1


class TimingHarness:
    """Builds subjects when they are asked for and keeps them until `close`."""

    def __init__(self, config: ProfileConfig, setting: Setting, timer: Timer) -> None:
        self.config, self.setting, self.timer = config, setting, timer
        self._subjects: dict[Key, TimedModel] = {}
        self._probe: Probe | None = None
        self._flush: CacheFlush | None = None
        self._work: dict[str, Callable[[], float]] = {}
        self._names: dict[str, Name] = {}
        self.failures: dict[Key, str] = {}
        self.uncaptured: dict[Key, str] = {}  # why there is no CUDA graph of them
        self.graphs: dict[str, dict[str, int]] = {}  # what the compiler made of each subject, for the metadata
        self.kernels: dict[Key, Mapping[str, int]] = {}  # how often each ran in one pass of a subject
        self._compiled: Compilation | None = None
        self.allocator = ""  # whose memory the timed work runs in, in words

    def spec(self, key: Key) -> TimedModelSpec:
        """What the subject is built from."""
        config = self.config
        return TimedModelSpec(
            model=key[0],
            stage=key[1],
            train=config.mode == "train",
            resolution=self.setting.resolution,
            dtype=self.setting.dtype,
            compile=config.compile,
            channels_last=config.channels_last,
            device=config.device,
            seed=config.seed,
            images=config.images,
        )

    def subject(self, key: Key) -> TimedModel:
        """The subject, built at the first call."""
        if key not in self._subjects:
            self._subjects[key] = TimedModel(self.spec(key))
        return self._subjects[key]

    def seconds(self, key: Key, batch: int) -> float:
        """Seconds of one batch, quickly and eagerly: for choosing a batch size, not for reporting."""
        self.allocator = self._allocator()
        run = self.subject(key).run(batch, eager=True)  # a graph for each size tried would be minutes of compiling
        run()
        return quick_minimum(lambda: self.timer.time(run))

    def choose_batch(self, key: Key, activations: float) -> throughput_batch.BatchChoice:
        """The automatic batch size of one subject; `activations` are its elements for one image."""
        train = self.config.mode == "train"  # with weights, and some of the activations, in fp32
        width = 4 if train else torch.finfo(DTYPES[self.setting.dtype]).bits // 8

        def fits(batch: int) -> bool:
            # the CPU has no allocator that refuses in time: the kernel would end the process. Not all activations live
            # at once, except in training
            if self.config.device != "cpu" or batch == 1:
                return True
            return 2 * batch * activations * width < psutil.virtual_memory().available

        # a BatchNorm that trains on a map of one position refuses a batch of one
        start = 2 if train else 1
        return throughput_batch.choose_batch_size(lambda batch: self.seconds(key, batch), start=start, fits=fits)

    def prepare(self, loads: Mapping[Key, BatchPlan]) -> None:
        """Build, warm up, and get ready to sample; a subject that fails is left out, with the reason in `failures`."""
        if self._work:
            return
        self.allocator = self._allocator()
        self._probe = Probe(self.config.device, DTYPES[self.setting.dtype], self.timer)
        for key, load in loads.items():
            try:
                self._add(key, load)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                if is_out_of_memory(error):
                    if self.config.batch_size is None:
                        raise  # all of them get a smaller batch
                    got = f"one of {load.batch} images that does not"
                    remedy = "lower --batch-size, or profile fewer models at a time"
                    error = InputError("a batch that fits into memory beside the other models", got, remedy)
                self.failures[key] = reason_of(error)
                self._subjects.pop(key, None)
        for name, work in ((COMPUTE, self._probe.compute), (COPY, self._probe.copy)):
            warm_up(work, max_seconds=1.0)
            self._work[name], self._names[name] = work, (name, None)
        if self.config.compile:
            self._compiled = Compilation.so_far()

    def require_same_graphs(self) -> None:
        """Raise UnitError where something was compiled since `prepare`: in the middle of what was timed."""
        if self._compiled is not None:
            before, self._compiled = self._compiled, Compilation.so_far()
            self._compiled.since(before).require(0)

    def sample(self, *, first: int) -> Iterable[list[tuple[Name, Sample]]]:
        """Rounds without end, from number `first` on."""
        repeats = {name: LATENCY_REPEATS for name in self._work if self._names[name][0] in LATENCIES}
        for samples in rounds(self._work, seed=self.config.seed, first=first, repeats=repeats):
            yield [(self._names[sample.workload], sample) for sample in samples]

    @property
    def probe(self) -> Probe:
        """The probe, once the bench is prepared."""
        assert self._probe is not None
        return self._probe

    def close(self) -> None:
        """Let go of everything."""
        self._subjects.clear()
        self._work.clear()
        self._names.clear()
        self._probe = self._flush = None
        gc.collect()
        if self.config.device == "cpu":
            give_back_memory()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _add(self, key: Key, load: BatchPlan) -> None:
        subject = self.subject(key)
        timed: dict[str, Callable[[], float]] = {}
        for batch, passes in ((load.batch, load.passes), *([(1, 1)] if self.config.mode == "infer" else [])):
            run = subject.run(batch)
            compilation = subject.compile(batch, run)  # allocates and tunes, too: it tells nothing about being steady
            if compilation is not None:
                self.graphs[f"{name_of(key)}, batch {batch}"] = compilation.facts
            sample = self._timed(repeated(run, passes))
            warm_up(sample, maximum=WARMUP_RUNS, max_seconds=WARMUP_SECONDS)
            if not timed:
                with counted() as calls:
                    run()
                self.kernels[key] = calls
            timed |= self._latencies(key, run) if timed else {"throughput": sample}
        for what, sample in timed.items():
            name = f"{what} {key[0]} {key[1]}"
            self._work[name], self._names[name] = sample, (what, key)

    def _latencies(self, key: Key, run: Callable[[], object]) -> dict[str, Callable[[], float]]:
        """Ways to time one image, by metric; a graph that cannot be captured is left out, with the reason."""
        if self._flush is None:
            self._flush = CacheFlush(self.config.device)
        runs = {"latency": run}
        on_gpu = self.config.device.startswith("cuda")
        if on_gpu and self.spec(key).is_detector:
            self.uncaptured[key] = NO_GRAPH
        elif on_gpu:
            try:
                runs["latency_graph"] = cuda_graph_replay(run, self.config.device)
            except RuntimeError as error:
                if is_out_of_memory(error):
                    raise
                self.uncaptured[key] = reason_of(error)
        passes: dict[str, Callable[[], float]] = {}
        for metric, work in runs.items():
            passes[metric] = WarmPass(work, self.timer, LATENCY_REPEATS)
            passes[f"{metric}_cold"] = ColdPass(work, self.timer, self._flush)
        return passes

    def _allocator(self) -> str:
        return keep_freed_memory() if self.config.device == "cpu" else "torch's caching allocator"

    def _timed(self, run: Callable[[], object]) -> Callable[[], float]:
        return lambda: self.timer.time(run)


def quick_minimum(sample: Callable[[], float], *, maximum: int = 8, max_seconds: float = 2.0) -> float:
    """The shortest of a few durations, once three of them agree to 5 %: other work only ever makes one longer."""
    seen: list[float] = []
    while len(seen) < maximum and sum(seen) < max_seconds:
        seen = sorted([*seen, sample()])
        if len(seen) >= 3 and seen[2] <= 1.05 * seen[0]:
            break
    return seen[0]


def repeated(run: Callable[[], object], passes: int) -> Callable[[], object]:
    """`run` several times, as one function."""
    if passes == 1:
        return run

    def several() -> None:
        for _ in range(passes):
            run()

    return several


LoadsAt = Callable[[int], Mapping[Key, BatchPlan]]


def fitting(bench: TimingHarness, loads_at: LoadsAt, batch: int, *, smallest: int, tell: Callable[[int], None]) -> int:
    """The largest of `batch`, its half, its quarter ... at which a round of all subjects runs; the bench is ready then.

    Each alone may fit at a batch at which they do not fit together: weights, workspaces and graphs of all are there.

    Args:
        loads_at: what the subjects are sampled with at a batch.
        smallest: the last one tried.
        tell: told of each batch before it is tried.

    Raises:
        UnitError: not even the smallest fits.
    """
    while not _fits(bench, loads_at, batch, tell):
        bench.close()  # here, where no traceback holds the tensors any more
        if batch // 2 < smallest:
            raise UnitError(
                f"expected models that fit into memory together, got none of batch {batch}; profile fewer at a time"
            )
        batch //= 2
    return batch


def _fits(bench: TimingHarness, loads_at: LoadsAt, batch: int, tell: Callable[[int], None]) -> bool:
    tell(batch)
    try:
        bench.prepare(loads_at(batch))
        next(iter(bench.sample(first=0)))  # what was warmed up first ran without the others beside it
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True
