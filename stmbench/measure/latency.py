"""Three ways to time one pass: with warm caches, with cold caches, and as a CUDA graph without launch overhead.

A pass that directly follows an identical one finds weights and input in the cache; one after other work does not. On a
GPU an eager pass of a single image mostly waits for the host to launch kernels, while the replay of a graph does not.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from stmbench.measure.clock import Timer

Run = Callable[[], object]

CPU_BYTES = 2**26  # written between passes; a larger last-level cache may stay partly warm
CUDA_BYTES = 2**28  # if the driver does not report the size of its L2 cache
GRAPH_WARMUPS = 3  # passes on the capturing stream; libraries choose their algorithms in the first ones


class CacheFlush:
    """Evicts everything from a device's caches by reading and writing a buffer that is larger than they are."""

    def __init__(self, device: str | torch.device) -> None:
        torch_device = torch.device(device)
        self.bytes = CPU_BYTES
        if torch_device.type == "cuda":
            cache = getattr(torch.cuda.get_device_properties(torch_device), "L2_cache_size", 0)
            self.bytes = max(CPU_BYTES, 2 * cache) if cache else CUDA_BYTES
        self._buffer = torch.zeros(self.bytes // 4, dtype=torch.int32, device=torch_device)

    def __call__(self) -> None:
        self._buffer.add_(1)  # a mere fill may bypass the caches


class WarmPass:
    """Seconds of passes with warm caches: an untimed pass precedes the first of every `repeats` calls."""

    def __init__(self, run: Run, timer: Timer, repeats: int) -> None:
        self._run, self._timer, self._repeats, self._calls = run, timer, repeats, 0

    def __call__(self) -> float:
        if self._calls % self._repeats == 0:
            self._run()
        self._calls += 1
        return self._timer.time(self._run)


class ColdPass:
    """Seconds of passes with cold caches: `flush` precedes every call."""

    def __init__(self, run: Run, timer: Timer, flush: Run) -> None:
        self._run, self._timer, self._flush = run, timer, flush

    def __call__(self) -> float:
        self._flush()
        return self._timer.time(self._run)


def cuda_graph_replay(run: Run, device: str | torch.device) -> Run:
    """Capture `run` as a CUDA graph; calling the result replays it on the current stream.

    Raises:
        RuntimeError: the work cannot be captured because it waits for the device or copies from the host.
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
        return run  # keeps the input alive, from whose address the graph reads

    return replay
