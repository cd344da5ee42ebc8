"""A count runs no arithmetic where it need not, changes nothing, and gives the same figures every time."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import Tensor, nn

from stmbench.measure.counting import count
from stmbench.measure.counting.counts import Analysis
from stmbench.mixers.ops import cached_table, forget_tables
from tests.measure.counting.models import built
from tests.measure.counting.operations import Operation

MIXERS = ("halo_attn", "sr_attn", "sw_attn", "dw_conv", "dcnv3")


@pytest.mark.parametrize("mixer", MIXERS)
def test_meta_and_real_tensors_give_the_same_counts(mixer: str) -> None:
    model = built(mixer, "nano")
    on_meta = count(model, (3, 48, 64))
    assert on_meta.traced_on == "meta"
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        real = Analysis(copy.deepcopy(model).eval(), torch.zeros(1, 3, 48, 64))
    assert real.operations == on_meta.operations
    assert sum((t.macs for t in real.modules.values()), 0) == on_meta.macs
    assert {k: t.kinds for k, t in real.modules.items()} == {
        k: t.kinds for k, t in on_meta.modules.items() if k in real.modules
    }


@pytest.mark.parametrize("mixer", MIXERS)
def test_counting_leaves_the_model_as_it_was(mixer: str) -> None:
    torch.manual_seed(0)
    model = built(mixer, "nano").train()
    image = torch.randn(2, 3, 32, 32)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        expected = model.eval()(image)
    model.train()
    first, second = (count(model, (3, 32, 32), parts=model.parts) for _ in range(2))
    assert first == second
    assert all(module.training for module in model.modules())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(p.device.type == "cpu" and p.requires_grad for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    with torch.no_grad():
        assert torch.equal(model.eval()(image), expected)


@cached_table
def ramp(size: tuple[int, int], device: torch.device) -> Tensor:
    """(H, W): two multiplications a place."""
    return torch.ones(size, device=device) * 2 * 3


def test_a_table_that_is_made_once_is_not_counted() -> None:
    model = Operation(lambda x: x * ramp(x.shape[-2:], x.device))
    forget_tables()
    for _ in range(2):  # made by the first pass, there for the second
        assert count(model, (4, 6, 5)).total.elementwise == 4 * 6 * 5
    assert count(model, (4, 7, 5)).total.elementwise == 4 * 7 * 5


@pytest.mark.parametrize("mixer", ["sw_attn", "linear_attn", "aggregated_attn", "dcnv4"])
def test_a_count_does_not_depend_on_what_was_counted_before(mixer: str) -> None:
    model = built(mixer, "nano")
    forget_tables()
    assert count(model, (3, 32, 32)).total == count(model, (3, 32, 32)).total


def test_model_that_reads_values_is_run_on_real_tensors() -> None:
    def branch(x: Tensor) -> Tensor:
        return x @ x.mT if float(x.sum()) == 0 else x

    counted = count(Operation(branch), (4, 8))
    assert (counted.traced_on, counted.macs) == ("cpu", 4 * 4 * 8)


def test_no_warnings_and_no_change_of_the_fast_path() -> None:
    fast = torch.backends.mha.get_fastpath_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        count(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), (3, 8, 8))
    assert torch.backends.mha.get_fastpath_enabled() == fast
    assert torch.is_grad_enabled()


def test_shared_parameters_are_counted_once_and_their_use_twice() -> None:
    layer = nn.Linear(8, 8)
    counted = count(nn.Sequential(layer, nn.ReLU(), layer), (4, 8))
    assert counted.params == 72
    assert counted.macs == 2 * 4 * 64


def test_parts_sum_to_the_total_and_the_rest_is_other() -> None:
    model = nn.Sequential(nn.Linear(8, 4), nn.Sequential(nn.Linear(4, 4), nn.GELU()), nn.Linear(4, 2))
    counted = count(model, (3, 8), parts={"first": "0", "middle": "1"})
    macs = {name: tally.macs for name, tally in counted.parts.items()}
    assert macs == {"first": 3 * 32, "middle": 3 * 16, "other": 3 * 8}
    assert sum(t.params for t in counted.parts.values()) == counted.params == 36 + 20 + 10
    assert counted.under("1").macs == 3 * 16
    assert counted.under("") == counted.total


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_input_has_the_models_dtype(dtype: torch.dtype) -> None:
    assert count(nn.Linear(8, 8).to(dtype), (4, 8)).macs == 4 * 64
