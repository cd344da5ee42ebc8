"""One pass with warm caches, one with cold ones, and one without the host: three questions, three metrics.

A pass right after its twin finds weights and input in the cache; one after other work does not. On a GPU an eager pass
of one image mostly waits for the host to launch kernels, and the replay of a CUDA graph does not.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from stmbench.measure.clock import Timer

Run = Callable[[], object]

CPU_BYTES = 2**26  # filled between passes; more than this of a last-level cache may stay warm
CUDA_BYTES = 2**28  # where the driver does not tell the size of its L2 cache
GRAPH_WARMUPS = 3  # passes on the capturing stream: libraries choose their algorithms in the first ones


class Flush:
    """Work that leaves nothing else in a device's caches: a buffer of more than their size, read and written."""

    def __init__(self, device: str | torch.device) -> None:
        where = torch.device(device)
        self.bytes = CPU_BYTES
        if where.type == "cuda":
            cache = getattr(torch.cuda.get_device_properties(where), "L2_cache_size", 0)
            self.bytes = max(CPU_BYTES, 2 * cache) if cache else CUDA_BYTES
        self._buffer = torch.zeros(self.bytes // 4, dtype=torch.int32, device=where)

    def __call__(self) -> None:
        self._buffer.add_(1)  # a mere fill may go past the caches


class Warm:
    """Seconds of passes that follow their twins: the first of every `repeats` calls runs once more, untimed, before."""

    def __init__(self, run: Run, timer: Timer, repeats: int) -> None:
        self._run, self._timer, self._repeats, self._calls = run, timer, repeats, 0

    def __call__(self) -> float:
        if self._calls % self._repeats == 0:
            self._run()
        self._calls += 1
        return self._timer.time(self._run)


class Cold:
    """Seconds of passes that find nothing of theirs in the caches."""

    def __init__(self, run: Run, timer: Timer, flush: Run) -> None:
        self._run, self._timer, self._flush = run, timer, flush

    def __call__(self) -> float:
        self._flush()
        return self._timer.time(self._run)


def replay_of(run: Run, device: str | torch.device) -> Run:
    """`run` captured as a CUDA graph; calling the result replays it on the current stream.

    Raises:
        RuntimeError: the work cannot be captured, since it waits for the device or copies from the host.
    """
    with torch.cuda.device(device):
        stream, current = torch.cuda.Stream(), torch.cuda.current_stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            for _ in range(GRAPH_WARMUPS):
                run()
        current.wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()

    def replay() -> Run:
        graph.replay()
        return run  # and with it the input, at whose address the graph reads

    return replay
