from __future__ import annotations

import contextlib
import platform
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from stmbench.errors import ConfigError, UnitError
from stmbench.measure.backend_settings import BackendSettings, Compilation, compiled, require_dtype
from tests.measure.quick_compiler import quick_compiler


@pytest.fixture(autouse=True)
def flags() -> Iterator[None]:
    """The process's own, whatever a test does."""
    cudnn, products = torch.backends.cudnn, torch.get_float32_matmul_precision()
    before = cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic
    yield
    torch.set_float32_matmul_precision(products)
    cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic = before


@pytest.mark.parametrize("tf32", [False, True])
@pytest.mark.parametrize("benchmark", [False, True])
@pytest.mark.parametrize("outside", ["highest", "high", "medium"])
def test_flags_are_set_inside_and_restored(tf32: bool, benchmark: bool, outside: str) -> None:
    cudnn = torch.backends.cudnn
    torch.set_float32_matmul_precision(outside)
    cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic = not tf32, not benchmark, benchmark
    wanted = BackendSettings(tf32=tf32, benchmark=benchmark, deterministic=not benchmark)
    with contextlib.suppress(KeyError), wanted.applied():
        assert BackendSettings.current() == wanted
        assert torch.backends.cuda.matmul.allow_tf32 is cudnn.allow_tf32 is tf32
        cudnn.benchmark = not benchmark  # the work may do so
        torch.set_float32_matmul_precision("medium")
        raise KeyError
    assert (cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic) == (not tf32, not benchmark, benchmark)
    assert torch.get_float32_matmul_precision() == outside


def test_cpu_products_do_not_change() -> None:
    x = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    with BackendSettings(tf32=True).applied():
        product = x @ x
    assert torch.equal(product, x @ x)


def test_tf32_is_refused_where_fp32_would_be_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5) if device.index == 1 else (8, 0))
    require_dtype("tf32", "cuda:0")
    require_dtype("fp32", "cpu")
    with pytest.raises(ConfigError, match=r"^expected tf32 on a CUDA device, got tf32 on cpu; use --dtype fp32$"):
        require_dtype("tf32", "cpu")
    with pytest.raises(ConfigError, match=r"got one of compute capability 7\.5"):
        require_dtype("tf32", "cuda:1")


# in a process of its own: the setting lasts
FAULTS = """
import resource, sys
import psutil
import torch
from stmbench.measure.backend_settings import freed_memory_kept, keep_freed_memory

if sys.argv[1] == "keep":
    print(keep_freed_memory(), file=sys.stderr)
torch.set_num_threads(1)
if sys.argv[1] == "afterwards":
    with freed_memory_kept("cpu"):
        torch.empty(2**28).fill_(1.0)  # 1 GiB
for _ in range(20):  # until the heap has grown to its shape
    torch.empty(2**24).fill_(1.0)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.empty(2**24).fill_(1.0)  # 64 MiB
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults, psutil.Process().memory_info().rss // 2**20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives pages back at once")
def test_freed_memory_is_kept_for_reuse() -> None:
    def measured(mode: str) -> tuple[int, int]:
        """Page faults, and MiB at the end."""
        command = [sys.executable, "-c", FAULTS, mode]
        faults, size = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        return int(faults), int(size)

    faults, usual = measured("leave")
    assert measured("keep")[0] < 100 < faults
    _, size = measured("afterwards")
    assert size < usual + 500, "a notebook would keep what an analysis needed"


__all__ = ["quick_compiler"]


class Scaled(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class Broken(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x = x + 1
        torch._dynamo.graph_break()
        return x * 2


def test_modules_beyond_the_compilers_cache_limit_are_compiled() -> None:
    for factor in range(12):
        before = Compilation.so_far()
        run = compiled(Scaled(float(factor)))
        assert run(torch.ones(2)).tolist() == [factor, factor]
        run(torch.ones(3))
        compiled_now = Compilation.so_far().since(before)
        assert compiled_now.facts == {"graphs": 2, "graph_breaks": 0}, factor
        compiled_now.require(2)


def test_a_graph_that_breaks_is_counted_and_refused() -> None:
    before = Compilation.so_far()
    compiled(Broken())(torch.ones(2))
    compiled_now = Compilation.so_far().since(before)
    assert compiled_now.facts["graphs"] == 2
    assert compiled_now.facts["graph_breaks"] >= 1, "Dynamo counts it in the frame that called, too"
    with pytest.raises(UnitError, match=r"^expected 1 compiled .*got 2 graphs and \d graph break.*--compile"):
        compiled_now.require(1)


@pytest.mark.parametrize(
    ("graphs", "wanted", "words"),
    [(0, 1, "got 0 graphs and 0 graph breaks .* runs eagerly"), (1, 0, "expected 0 compiled graphs .*, got 1 graph ")],
)
def test_a_graph_that_is_missing_or_too_many_is_refused(graphs: int, wanted: int, words: str) -> None:
    with pytest.raises(UnitError, match=words):
        Compilation(graphs=graphs, breaks=Counter()).require(wanted)
