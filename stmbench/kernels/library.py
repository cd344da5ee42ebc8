"""The compiled kernels: built at their first use, kept in a cache, called through ctypes.

This module imports PyTorch when something is compiled or called, so that asking for a compiler costs nothing.

The source includes nothing of PyTorch: the compiler takes seconds, and the result suits every version of it. A library
is named by a hash of its source, its flags and the processor's vector instructions: another machine that shares the
cache builds its own. It is built elsewhere and put into the cache by renaming: processes that build at the same time
or are killed leave nothing half-written. Where the cache cannot be written, the process has a library of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stmbench.bundled import cache_folder

if TYPE_CHECKING:
    from torch import Tensor

VARIABLE = "STMBENCH_KERNELS"
SOURCE = Path(__file__).parent / "cpp"
# floating-point exceptions are not asked for; everything else is as the standard has it: NaN, infinities, order
FLAGS = ("-O3", "-std=c++17", "-fopenmp", "-fno-trapping-math", "-fno-math-errno", "-fPIC")
COMPILERS = ("c++", "g++", "clang++")
TIMEOUT = 300  # seconds
# of the architecture, by what PyTorch finds in the processor
INSTRUCTIONS = {"AVX512": ("-march=x86-64-v4", "-mprefer-vector-width=512"), "AVX2": ("-march=x86-64-v3",)}
CALLS: Counter[str] = Counter()  # of each kernel, in this process


@dataclasses.dataclass(frozen=True, kw_only=True)
class Library:
    """The loaded library and its version, or the reason why there is none."""

    functions: ctypes.CDLL | None = None
    version: str = ""
    reason: str = ""


def call(
    name: str,
    tensors: tuple[Tensor | list[Tensor], ...],
    sizes: tuple[int, ...],
    scale: float | None = None,
    *,
    is_part: bool = False,
) -> None:
    """Run a kernel on tensors, contiguous unless the sizes say otherwise, of the first one's dtype: float32 or float64.

    It writes into the last ones. A list becomes an array of pointers. `scale` is for kernels that take one. A part of
    another kernel, which counts its own calls, is not counted.
    """
    import torch

    functions = load().functions
    if functions is None:  # a graph that was compiled with the kernels, in a process without them
        raise RuntimeError(f"the kernel {name} is not there: {load().reason}")
    if not is_part:
        CALLS[name] += 1
    dtype = next(tensor.dtype for tensor in tensors if not isinstance(tensor, list))
    others = {each.dtype for each in tensors if not isinstance(each, list) and each.is_floating_point()} - {dtype}
    if others or dtype not in (torch.float32, torch.float64):
        found = ", ".join(map(str, (dtype, *others)))
        raise ValueError(f"expected float32 or float64 for all that the kernel {name} takes, got {found}")
    # ctypes lets other threads run while the kernel does
    getattr(functions, f"{name}_{str(dtype).removeprefix('torch.')}")(
        *map(_pointer, tensors),
        *(() if scale is None else (ctypes.c_double(scale),)),
        (ctypes.c_int64 * len(sizes))(*sizes),
        ctypes.c_int(torch.get_num_threads()),
    )


def require_shapes(*expected: tuple[Tensor, tuple[int, ...]]) -> None:
    """Raise ValueError unless each tensor has the shape beside it: kernels trust sizes and read whatever lies there."""
    for tensor, shape in expected:
        if tuple(tensor.shape) != shape:
            raise ValueError(f"expected a tensor of shape {shape}, got {tuple(tensor.shape)}")


def dense(tensor: Tensor) -> Tensor:
    """The tensor, contiguous, with the strides that its sizes say.

    PyTorch leaves those of dimensions of size 1 open: it may call a map of one token contiguous whose pixels are said
    to be one number apart, which a kernel that is told the stride would believe.
    """
    return tensor.contiguous().flatten().view(tensor.shape)


def _pointer(tensor: Tensor | list[Tensor]) -> Any:
    if isinstance(tensor, list):
        return (ctypes.c_void_p * len(tensor))(*(each.data_ptr() for each in tensor))
    return ctypes.c_void_p(tensor.data_ptr())


@functools.cache
def load() -> Library:
    """The library, from the cache or newly built; never raises."""
    command, flags, version = compiler(), _flags(), _version()
    cached = kept_in() / f"kernels-{version}.so"
    sources = sorted(SOURCE.glob("*.cpp"))
    try:
        return Library(functions=ctypes.CDLL(str(cached)), version=version)
    except OSError:
        pass  # not there, or damaged: built again
    if command is None:
        return Library(reason="no C++ compiler was found (c++, g++, clang++ or the variable CXX)")
    try:
        return Library(functions=_built([*command, *flags], sources, cached), version=version)
    except (OSError, subprocess.SubprocessError) as error:
        return Library(reason=_reason(error))


def expected_version() -> str | None:
    """Of the library that `load` would give, without compiling it; None where there is neither it nor a compiler."""
    version = _version()
    return version if compiler() or (kept_in() / f"kernels-{version}.so").exists() else None


def kept_in() -> Path:
    """The folder that libraries are kept in."""
    return cache_folder() / "kernels"


def compiler() -> list[str] | None:
    """The command: the variable CXX, or the first that is installed; None without one."""
    if named := os.environ.get("CXX", "").split():
        return named if shutil.which(named[0]) else None
    found = next((path for name in COMPILERS if (path := shutil.which(name))), None)
    return (found and [found]) or None


def _flags() -> tuple[str, ...]:
    import torch

    return (*FLAGS, *INSTRUCTIONS.get(torch.backends.cpu.get_cpu_capability(), ()))


def _version() -> str:
    """Of source, flags and processor: the same version gives the same numbers as fast."""
    return _version_with(_flags())


@functools.cache  # asked for with every unit of work
def _version_with(flags: tuple[str, ...]) -> str:
    text = hashlib.sha256(" ".join((*flags, platform.machine(), platform.system())).encode())
    for file in sorted(SOURCE.iterdir()):
        text.update(file.read_bytes())
    return text.hexdigest()[:12]


def _built(command: list[str], sources: list[Path], cached: Path) -> ctypes.CDLL:
    """Compile, keep the result in the cache if that can be written, and load it."""
    from concurrent.futures import ThreadPoolExecutor

    from stmbench.tables.files import replacing

    def run(*words: str) -> None:
        subprocess.run([*command, *words], capture_output=True, text=True, timeout=TIMEOUT, check=True)

    with tempfile.TemporaryDirectory(prefix="stmbench-kernels-") as folder:
        made = Path(folder) / cached.name
        objects = [str(made.with_name(f"{source.stem}.o")) for source in sources]
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # a compiler for each core
            list(pool.map(lambda source, file: run("-c", str(source), "-o", file), sources, objects))
        run("-shared", *objects, "-o", str(made))
        # a read-only cache: this process alone has the library
        with contextlib.suppress(OSError), replacing(cached) as temporary:
            temporary.write_bytes(made.read_bytes())
        return ctypes.CDLL(str(made))  # stays loaded when its file goes


def _reason(error: Exception) -> str:
    """One line: what the compiler said first, or the system."""
    said = getattr(error, "stderr", None) or str(error)
    lines = [line.strip() for line in str(said).splitlines() if "error" in line.lower()] or str(said).splitlines()
    return f"the C++ compiler failed: {lines[0].strip() if lines else type(error).__name__}"
