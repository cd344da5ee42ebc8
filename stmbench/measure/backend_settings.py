"""Settings of the process that decide how fast and how exactly torch computes; recorded with every measurement.

Precision: fp32 means fp32. By default cuDNN's convolutions use TF32 and matrix products do not, which would make a
comparison unfair; `tf32` is a dtype of its own, in which both use it. cuDNN: timed work lets it try its algorithms and
take the fastest; evaluations use deterministic algorithms, so that results are reproducible. Freed memory: see
`keep_freed_memory`.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import platform
from collections.abc import Iterator

import torch

from stmbench.errors import ConfigError

TF32_SINCE = (8, 0)  # compute capability
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # <malloc.h>


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
    """Make the C library keep freed memory until the process ends, like a GPU's caching allocator.

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
