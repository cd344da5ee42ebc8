"""Settings of the process that decide how fast and how exactly torch computes; recorded with every measurement.

Precision: fp32 means fp32. By default cuDNN's convolutions use TF32 and matrix products do not, which would make a
comparison unfair; `tf32` is a dtype of its own, in which both use it. cuDNN: timed work lets it try its algorithms and
take the fastest; evaluations use deterministic algorithms, so that results are reproducible. Freed memory: see
`keep_freed_memory`.

torch.compile: Dynamo caches at most 8 graphs per code object, and all models of an architecture share one `forward`:
from the fifth model at two batch sizes on, it would silently run them eagerly. Calling each model through a code object
of its own gives it a cache of its own; `Compilation` checks that it was compiled into a single graph.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import itertools
import platform
import types
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

import torch
from torch import Tensor, nn

from stmbench.errors import ConfigError, UnitError

AUTOCAST: Final = {"bf16": torch.bfloat16, "fp16": torch.float16}  # dtypes of which operations run under autocast
TF32_SINCE = (8, 0)  # compute capability
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # <malloc.h>


@dataclasses.dataclass(frozen=True, kw_only=True)
class BackendSettings:
    """`tf32`: in products and convolutions. `benchmark`: cuDNN tries algorithms. `deterministic`: it keeps to those."""

    tf32: bool = False
    benchmark: bool = False
    deterministic: bool = True

    @classmethod
    def current(cls) -> BackendSettings:
        """The settings of this process; `tf32` if either products or convolutions use it."""
        cudnn = torch.backends.cudnn
        return cls(
            tf32=torch.backends.cuda.matmul.allow_tf32 or cudnn.allow_tf32,
            benchmark=cudnn.benchmark,
            deterministic=cudnn.deterministic,
        )

    @property
    def facts(self) -> dict[str, bool]:
        """The settings as stored in the metadata."""
        return {
            "tf32": self.tf32,
            "cudnn_benchmark": self.benchmark,
            "cudnn_deterministic": self.deterministic,
        }

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Apply the settings within the context and restore the previous ones afterwards."""
        cudnn = torch.backends.cudnn
        products = torch.get_float32_matmul_precision()
        before = cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic
        # unlike set_float32_matmul_precision('high') this leaves products on the CPU alone
        torch.backends.cuda.matmul.allow_tf32 = self.tf32
        cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic = self.tf32, self.benchmark, self.deterministic
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(products)
            cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic = before


def require_dtype(dtype: str, device: str) -> None:
    """Raise ConfigError if the device does not support `dtype` and would silently compute in another one."""
    if dtype != "tf32":
        return
    torch_device = torch.device(device)
    if torch_device.type != "cuda":
        raise ConfigError("tf32 on a CUDA device", f"tf32 on {device}", "use --dtype fp32")
    capability = torch.cuda.get_device_capability(torch_device)
    if capability < TF32_SINCE:
        got = f"one of compute capability {capability[0]}.{capability[1]}"
        raise ConfigError("a device of compute capability 8.0 or later for tf32", got, "use --dtype fp32")


def keep_freed_memory() -> str:
    """Make the C library keep freed memory until `give_back_memory`, like a GPU's caching allocator.

    By default glibc returns large blocks to the kernel at once, so that every forward pass pays for fresh pages: on two
    cores that took a fifth of the time of a micro model at batch 16 and a third at batch 32. The cost comes and goes
    with the batch size and has nothing to do with the mixer.

    Returns:
        A description of the allocator for the metadata.
    """
    if platform.libc_ver()[0] != "glibc":
        return "the system's"
    library = ctypes.CDLL(None)
    # as a size, -1 is the largest number: never trim
    is_set = library.mallopt(M_MMAP_MAX, 0) and library.mallopt(M_TRIM_THRESHOLD, -1)
    return "glibc's, keeping what is freed" if is_set else "glibc's"


def give_back_memory() -> None:
    """Let the system have what `keep_freed_memory` kept, at once and from now on: a notebook goes on for hours."""
    if platform.libc_ver()[0] != "glibc":
        return
    library = ctypes.CDLL(None)
    library.mallopt(M_MMAP_MAX, 65_536)
    # where glibc's own thresholds end up in a process that frees large blocks; once set they no longer move
    library.mallopt(M_MMAP_THRESHOLD, 2**25)
    library.mallopt(M_TRIM_THRESHOLD, 2**26)
    library.malloc_trim(0)


@contextlib.contextmanager
def freed_memory_kept(device: str) -> Iterator[None]:
    """`keep_freed_memory` within the context, on a CPU."""
    if device != "cpu":
        yield
        return
    keep_freed_memory()
    try:
        yield
    finally:
        give_back_memory()


_numbers = itertools.count()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compilation:
    """Compiled graphs, and graph breaks by reason, as Dynamo counts them: so far, or between two moments."""

    graphs: int
    breaks: Counter[str]

    @classmethod
    def so_far(cls) -> Compilation:
        """The counts of this process so far."""
        from torch._dynamo.utils import counters  # takes a second to import

        return cls(graphs=counters["stats"]["unique_graphs"], breaks=Counter(counters["graph_break"]))

    def since(self, earlier: Compilation) -> Compilation:
        """What was compiled after `earlier`."""
        return Compilation(graphs=self.graphs - earlier.graphs, breaks=self.breaks - earlier.breaks)

    @property
    def facts(self) -> dict[str, int]:
        """The counts as stored in the metadata."""
        return {"graphs": self.graphs, "graph_breaks": self.breaks.total()}

    def require(self, graphs: int) -> None:
        """Raise UnitError unless exactly this many graphs were compiled, without a graph break."""
        broken = self.breaks.total()
        if self.graphs == graphs and not broken:
            return
        got = f"{_several(self.graphs, 'graph')} and {_several(broken, 'graph break')}"
        if broken:
            got += f" ({self.breaks.most_common(1)[0][0].splitlines()[0][:160]})"
        elif self.graphs < graphs:
            got += " (the compiler hit a limit or is disabled, and the rest runs eagerly)"
        wanted = _several(graphs, "compiled graph")
        raise UnitError(f"expected {wanted} without a break, got {got}; omit --compile for this model")


def compiled(module: nn.Module) -> Callable[[Tensor], Tensor]:
    """`module` as a compiled function: one graph per input shape, in a cache that no other module shares."""

    def forward(x: Tensor) -> Tensor:
        output: Tensor = module(x)
        return output

    code = forward.__code__.replace(co_name=f"forward_{next(_numbers)}")
    own = types.FunctionType(code, forward.__globals__, code.co_name, None, forward.__closure__)
    result: Callable[[Tensor], Tensor] = torch.compile(own, dynamic=False)
    return result


def _several(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
