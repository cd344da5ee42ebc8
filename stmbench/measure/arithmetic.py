"""How CUDA's libraries compute: TF32, cuDNN's trials and its determinism. Set for a unit of work, recorded, put back.

fp32 means fp32: by default cuDNN's convolutions take TF32 and matrix products do not, which is not fair. `tf32` is a
dtype of its own, in which both do. What is timed lets cuDNN try its algorithms and take the fastest; what is evaluated
takes one that gives the same figures again.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

import torch

from stmbench.errors import ConfigError

TF32_SINCE = (8, 0)  # compute capability


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """`tf32` of products and convolutions alike; whether cuDNN tries algorithms, and keeps to deterministic ones."""

    tf32: bool = False
    benchmark: bool = False
    deterministic: bool = True

    @classmethod
    def now(cls) -> Arithmetic:
        """As the process computes at this moment; TF32 where products or convolutions take it."""
        cudnn = torch.backends.cudnn
        return cls(
            tf32=torch.backends.cuda.matmul.allow_tf32 or cudnn.allow_tf32,
            benchmark=cudnn.benchmark,
            deterministic=cudnn.deterministic,
        )

    @property
    def facts(self) -> dict[str, bool]:
        """For the metadata."""
        return {
            "tf32": self.tf32,
            "cudnn_benchmark": self.benchmark,
            "cudnn_deterministic": self.deterministic,
        }

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """The process computes so inside, and as before afterwards, whatever the work inside changed."""
        cudnn = torch.backends.cudnn
        products = torch.get_float32_matmul_precision()
        before = cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic
        # on the CPU this leaves products alone, which set_float32_matmul_precision('high') would not
        torch.backends.cuda.matmul.allow_tf32 = self.tf32
        cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic = self.tf32, self.benchmark, self.deterministic
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(products)
            cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic = before


def require_dtype(dtype: str, device: str) -> None:
    """Raise ConfigError where a device does not compute in `dtype` and would take another without a word."""
    if dtype != "tf32":
        return
    where = torch.device(device)
    if where.type != "cuda":
        raise ConfigError("tf32 on a CUDA device", f"tf32 on {device}", "use --dtype fp32")
    capability = torch.cuda.get_device_capability(where)
    if capability < TF32_SINCE:
        got = f"one of compute capability {capability[0]}.{capability[1]}"
        raise ConfigError("a device of compute capability 8.0 or later for tf32", got, "use --dtype fp32")
