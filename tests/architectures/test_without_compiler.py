"""timm, torchvision and trainings are imported without torch's compiler, and work as before."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import stmbench, sys, timm, torchvision
assert not {"torch._dynamo", "sympy"} & set(sys.modules)

import torch
from stmbench.architectures.without_compiler import marked_later

with marked_later():
    marked = torch.compiler.disable(lambda x: x * torch.tensor(x.sum().item()))
assert torch.compiler.disable.__module__ == "torch.compiler", "as it was"
assert "torch._dynamo" not in sys.modules

assert sys.modules["torchvision.ops.roi_align"].is_compile_supported("cpu") is True
import torch._dynamo.utils as real

assert real is torch._dynamo.utils and real.__file__, "no stand-in any more"
explained = torch._dynamo.explain(lambda x: marked(x + 1) + 1)(torch.ones(2))
assert explained.graph_break_count == 1, "a marked function is left out of the graph"
assert torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1)).item() == 2
"""


ASKING = """
import sys
from stmbench.training.analysis import Training

assert not {"torch._dynamo", "sympy"} & set(sys.modules), "what a training would be is asked without an optimiser"
"""


@pytest.mark.parametrize("code", [CODE, ASKING], ids=["networks", "trainings"])
def test_the_compiler_is_imported_when_it_is_asked(code: str) -> None:
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
