"""Peak memory of one subject, measured where nothing else is counted with it."""

from __future__ import annotations

import contextlib
import dataclasses

import torch

from stmbench.analyses.profile.bench import Bench
from stmbench.analyses.profile.samples import Key
from stmbench.analyses.profile.subjects import Subject, SubjectSpec
from stmbench.measure.memory import MemoryReading, MemorySpec, peak_of_child, peak_of_cuda

PREPARE = "stmbench.analyses.profile.subjects:prepare"


def peak_of(bench: Bench, key: Key, batch: int, *, threads: int) -> MemoryReading:
    """Of the eager model, on noise: a compiler's or picture reader's memory is not the model's."""
    spec = dataclasses.replace(bench.spec(key), compile=False, images="noise")
    if bench.config.device.startswith("cuda"):
        return _of_cuda(bench, spec, batch)
    arguments = {"spec": dataclasses.asdict(spec), "batch": batch, "plugins": list(bench.config.plugins)}
    return peak_of_child(MemorySpec(target=PREPARE, arguments=arguments, threads=threads))


def _of_cuda(bench: Bench, spec: SubjectSpec, batch: int) -> MemoryReading:
    """Beside the models that wait to be sampled, or, where it does not fit there, without them."""
    with contextlib.suppress(torch.cuda.OutOfMemoryError):
        return peak_of_cuda(lambda: Subject(spec).run(batch), spec.device)
    bench.close()
    return peak_of_cuda(lambda: Subject(spec).run(batch), spec.device)
