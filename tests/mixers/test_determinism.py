"""Mixers declare a backward pass that is not repeatable on CUDA: exactly those that run such an operation.

Passes run on the meta device: no kernel of a CPU is chosen there, and nothing is computed.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from stmbench.mixers import BUILTIN
from stmbench.mixers.base import MIXERS
from stmbench.mixers.conformance import MixerUnderTest
from stmbench.mixers.ops.determinism import COPIES, POOLED, RESIZED, SAMPLES

# what the documentation of torch.use_deterministic_algorithms lists for CUDA, by the names in a backward pass: that of
# gather is scatter_add, that of index_select and repeat_interleave index_add. Convolutions have a setting of their own
NONDETERMINISTIC = {
    "grid_sampler_2d_backward", "grid_sampler_3d_backward", "upsample_linear1d_backward",
    "upsample_bilinear2d_backward", "_upsample_bilinear2d_aa_backward", "upsample_bicubic2d_backward",
    "_upsample_bicubic2d_aa_backward", "upsample_trilinear3d_backward", "_adaptive_avg_pool2d_backward",
    "_adaptive_avg_pool3d_backward", "adaptive_max_pool2d_backward", "avg_pool3d_backward",
    "max_pool3d_with_indices_backward", "fractional_max_pool2d_backward", "fractional_max_pool3d_backward",
    "reflection_pad1d_backward", "reflection_pad2d_backward", "reflection_pad3d_backward",
    "replication_pad1d_backward", "replication_pad2d_backward", "replication_pad3d_backward",
    "_embedding_bag_backward", "_embedding_bag_dense_backward", "scatter_add", "scatter_reduce", "index_add",
    "index_copy", "put", "cumsum",
}  # fmt: skip
PLACES = ((0, 0), (1, 1), (2, 0), (2, 1), (3, 0))  # stage, block


class _Recorder(TorchDispatchMode):
    """Keeps the names of all operations."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket.__name__.rstrip("_"))
        return func(*args, **(kwargs or {}))


def operations(name: str, *, larger: int) -> set[str]:
    """Those of the list in a mixer's backward passes, on its own maps or on others."""
    under_test, recorder = MixerUnderTest(entry=MIXERS.get(name)), _Recorder()
    for stage, block in PLACES:
        side = under_test.position(stage).resolution[0]
        module = under_test.module(stage, block, dtype=torch.float32).train().to("meta")
        size = (side + 2 * larger, side + larger)
        output = module(under_test.images(2, size, stage, dtype=torch.float32).to("meta").requires_grad_())
        with recorder:
            output.sum().backward()
    return recorder.names & NONDETERMINISTIC


@pytest.fixture(autouse=True)
def _no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STMBENCH_KERNELS", "off")


@pytest.mark.parametrize("name", BUILTIN)
def test_exactly_the_nondeterministic_backward_passes_are_declared(name: str) -> None:
    own, other = operations(name, larger=0), operations(name, larger=1)
    reasons = {
        SAMPLES: "grid_sampler_2d_backward" in own,
        COPIES: own == {"index_add"},
        POOLED: own == {"index_add", "_adaptive_avg_pool2d_backward"},
        RESIZED: not own and other == {"upsample_bilinear2d_backward"},
        "": not own and not other,
    }
    found = [reason for reason, holds in reasons.items() if holds]
    assert found == [MIXERS.get(name).nondeterministic_backward], (own, other)


def test_a_pass_with_such_an_operation_is_found() -> None:
    recorder, x = _Recorder(), torch.zeros(3, 4, device="meta", requires_grad=True)
    output = x.gather(1, torch.zeros(3, 2, dtype=torch.long, device="meta")).sum()
    with recorder:
        output.backward()
    assert recorder.names & NONDETERMINISTIC == {"scatter_add"}
