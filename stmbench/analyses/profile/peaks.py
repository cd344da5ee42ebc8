"""Peak memory of one subject, measured where nothing else is counted with it."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import tempfile
from pathlib import Path

import torch

from stmbench.analyses.profile.samples import Key
from stmbench.analyses.profile.timed_models import TimedModel, TimedModelSpec
from stmbench.analyses.profile.timing_harness import TimingHarness
from stmbench.architectures.given_models import is_given, save_given
from stmbench.measure.memory import MemoryReading, MemorySpec, peak_of_child, peak_of_cuda, peak_of_this_process

PREPARE = "stmbench.analyses.profile.timed_models:prepare"


def peak_of(bench: TimingHarness, key: Key, batch: int, *, threads: int) -> MemoryReading:
    """Of the eager model, on noise: a compiler's or picture reader's memory is not the model's.

    A module given as an object travels to the child process in a file. One that cannot (its class lives in a notebook,
    say) is measured in this process, as the reading's method says.
    """
    spec = dataclasses.replace(bench.spec(key), compile=False, images="noise")
    if bench.config.device.startswith("cuda"):
        return _of_cuda(bench, spec, batch)
    arguments = {"spec": dataclasses.asdict(spec), "batch": batch, "plugins": list(bench.config.plugins)}
    if not is_given(spec.model):
        return peak_of_child(MemorySpec(target=PREPARE, arguments=arguments, threads=threads))
    with tempfile.TemporaryDirectory(prefix="stmbench-") as folder:
        file = Path(folder) / "module.pt"
        if save_given(spec.model, file):
            arguments |= {"given": str(file), "path": sys.path}
            return peak_of_child(MemorySpec(target=PREPARE, arguments=arguments, threads=threads))
    return peak_of_this_process(lambda: TimedModel(spec).run(batch))


def _of_cuda(bench: TimingHarness, spec: TimedModelSpec, batch: int) -> MemoryReading:
    """Beside the models that wait to be sampled, or, where it does not fit there, without them."""
    with contextlib.suppress(torch.cuda.OutOfMemoryError):
        return peak_of_cuda(lambda: TimedModel(spec).run(batch), spec.device)
    bench.close()
    return peak_of_cuda(lambda: TimedModel(spec).run(batch), spec.device)
