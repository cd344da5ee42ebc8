"""Made-up checkouts: a package `stmbench` whose models are lines of Python, and a `torch` that does next to nothing.

Real workers start on them in a tenth of a second.
"""

from __future__ import annotations

from pathlib import Path

TORCH = """
import contextlib


class version:
    cuda = None


class cuda:
    is_available = staticmethod(lambda: False)

    @staticmethod
    def synchronize(device=None):
        if device is None or device.name != "cuda:1":
            raise RuntimeError("waited for a device that has nothing to do")


class backends:
    class cuda:
        class matmul:
            allow_tf32 = None

    class cudnn:
        allow_tf32 = benchmark = None


class device:
    def __init__(self, name):
        self.name, self.type = name, name.partition(":")[0]


class Generator:
    manual_seed = lambda self, seed: self


class Tensor:
    to = copy_ = lambda self, *_, **__: self


class FakeModel:
    default_cfg = {"input_size": (3, 48, 64)}
    to = lambda self, **_: self
    eval = lambda self: self
    parameters = lambda self: []

    def __call__(self, images):
        return sum(range(1000))


float32 = bfloat16 = float16 = None
threads = [4]
set_num_threads = lambda count: threads.__setitem__(0, count)
get_num_threads = lambda: threads[0]
manual_seed = lambda seed: None
no_grad = contextlib.nullcontext
randn = ones = arange = empty_like = lambda *_, **__: Tensor()
mm = lambda a, b, out: out
"""
STMBENCH = """
import os
import sys
import torch

__version__ = "9.9"
MODELS = {}


def create_model(name):
    print("models may print what they like")
    os.write(1, b"libraries too\\n")
    if name == "dies":
        print("last words", file=sys.stderr)
        os._exit(7)
    if name == "aborts":
        os.abort()
    if name == "refuses":
        raise ValueError("a reason\\nin two lines")
    if name == "exits":
        sys.exit(0)
    if name == "hangs":
        import time
        time.sleep(600)
    return MODELS.get(name, torch.FakeModel)()
"""
LAZY = """
import importlib

__version__ = "0.1.0"


def __getattr__(name):
    if name != "create_model":
        raise AttributeError(name)
    return importlib.import_module("stmbench.architectures.catalog").create_model
"""


def checkout(folder: Path, *, source: str = STMBENCH) -> Path:
    """A folder that holds such a package; returns it."""
    (folder / "stmbench").mkdir(parents=True)
    (folder / "stmbench" / "__init__.py").write_text(source)
    (folder / "torch.py").write_text(TORCH)
    return folder


def lazy_checkout(folder: Path) -> Path:
    """A checkout laid out as before the packages had their present names; its public names are imported on demand."""
    root = checkout(folder, source=LAZY)
    for name in ("architectures", "analyses", "analyses/compare", "sweeps"):
        (root / "stmbench" / name).mkdir()
        (root / "stmbench" / name / "__init__.py").touch()
    (root / "stmbench" / "architectures" / "catalog.py").write_text(STMBENCH)
    return root
