"""RepLKNet's block: the authors' numbers, its merged form, and what the config refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from stmbench.errors import ConfigError
from stmbench.mixers.base import MIXERS, BlockPosition
from stmbench.mixers.rep_large_kernel import RepLargeKernel, RepLargeKernelConfig
from tests.mixers.golden import check_golden


def _mixer(dim: int = 64, **options: Any) -> RepLargeKernel:
    return RepLargeKernel(RepLargeKernelConfig(dim=dim, **options))


def test_the_block_is_the_authors() -> None:
    check_golden("replk27_block", lambda height, width: _mixer(kernel=27))


@pytest.mark.parametrize("kernel", [13, 27])
def test_the_sum_of_two_kernels_is_the_authors(kernel: int) -> None:
    check_golden(f"replk{kernel}_conv", lambda height, width: _mixer(kernel=kernel, projections=False))


@pytest.mark.parametrize("projections", [True, False])
def test_the_merged_form_is_one_kernel(projections: bool) -> None:
    mixer = _mixer(32, kernel=9, projections=projections).double()
    x = torch.randn(4, 6, 7, 32, dtype=torch.float64)
    for _ in range(3):
        mixer(x)  # running statistics that are not the initial ones
    merged = mixer.eval().merge()
    assert torch.allclose(merged(x), mixer(x), rtol=0, atol=1e-12)
    sizes = {name: tuple(tensor.shape) for name, tensor in merged.state_dict().items()}
    projection = {"weight": (32, 32), "bias": (32,)}
    projected = {f"{name}.{key}": size for name in ("proj_in", "proj_out") for key, size in projection.items()}
    assert sizes == {"spread.weight": (32, 1, 9, 9), "spread.bias": (32,), **(projected if projections else {})}
    assert mixer.macs(6, 7) - merged.macs(6, 7) == 25 * 32 * 6 * 7  # the small kernel


def test_merged_weights_keep_dtype_and_whether_they_learn() -> None:
    mixer = _mixer(8, kernel=7).bfloat16().requires_grad_(False).eval()
    assert {(p.dtype, p.requires_grad) for p in mixer.merge().parameters()} == {(torch.bfloat16, False)}


def test_the_norms_depend_on_the_batch_in_training_alone() -> None:
    mixer, x = _mixer(8, kernel=7), torch.randn(4, 5, 5, 8)
    assert not torch.allclose(mixer(x)[:1], mixer(torch.cat((x[:1], 3 * x[1:])))[:1], atol=1e-3)
    mixer.eval()
    assert torch.allclose(mixer(x)[:1], mixer(torch.cat((x[:1], 3 * x[1:])))[:1], atol=1e-6)


def test_kernels_shrink_from_stage_to_stage() -> None:
    at = MIXERS.get("rep_large_kernel").config_at
    positions = [BlockPosition(stage=stage, block=0, dim=64, resolution=(14, 14)) for stage in range(4)]
    assert [at(position).kernel for position in positions] == [31, 29, 27, 13]  # type: ignore[attr-defined]
    assert at(positions[1], kernel=7, small=None) == RepLargeKernelConfig(dim=64, kernel=7, small=None)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({"kernel": 30}, "an odd kernel"), ({"small": 4}, "an odd small kernel"), ({"kernel": 3}, "1 to 3, or None")],
)
def test_impossible_configs_are_refused(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        RepLargeKernelConfig(dim=64, **changes)


def test_both_forms_compile_to_one_graph() -> None:
    mixer, x = _mixer(16, kernel=7).eval(), torch.randn(2, 7, 9, 16)
    for form in (mixer, mixer.merge()):
        compiled = torch.compile(form, fullgraph=True, backend="eager")
        assert torch.allclose(compiled(x), form(x), atol=1e-6)
