"""Scans: the fast forms, their gradients and their form in a compiled graph are those of the loop."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stmbench.measure.counting import count
from stmbench.mixers.ops import scan
from stmbench.mixers.ops.scan import linear_scan, selective_scan, selective_scan_reference
from tests.measure.counting.operations import Operation

DIRECTIONS, BATCH, DIM, STATES = 2, 2, 3, 2


def _inputs(length: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    torch.manual_seed(0)
    sequence, small = (DIRECTIONS, BATCH, length, DIM), (DIRECTIONS, BATCH, length, STATES)
    tensors = [torch.randn(sequence), torch.rand(sequence), -torch.rand(DIRECTIONS, STATES, DIM)]
    return [t.to(dtype).requires_grad_() for t in (*tensors, torch.randn(small), torch.randn(small))]


def _loop(a: Tensor, b: Tensor) -> Tensor:
    states = [b[:, :, 0]]
    for decay, new in zip(a.expand_as(b).unbind(2)[1:], b.unbind(2)[1:], strict=True):
        states.append(decay * states[-1] + new)
    return torch.stack(states, dim=2)


@pytest.mark.parametrize("chunk", [scan.ON_CPU, 1])  # one chunk, or several of BLOCK positions
@pytest.mark.parametrize("length", [1, 16, 37])
def test_a_selective_scan_and_its_gradients_are_those_of_the_loop(
    length: int, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "ON_CPU", chunk)
    inputs = _inputs(length)
    fast, slow = selective_scan(*inputs), selective_scan_reference(*inputs)
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-13)
    weights = torch.randn_like(slow)
    torch.testing.assert_close(
        torch.autograd.grad(fast, inputs, weights), torch.autograd.grad(slow, inputs, weights), rtol=0, atol=1e-12
    )


def test_the_gradients_are_the_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "BLOCK", 3)
    monkeypatch.setattr(scan, "ON_CPU", 1)
    assert torch.autograd.gradcheck(selective_scan, _inputs(5))
    decay = torch.rand(1, 1, 1, DIM, dtype=torch.float64, requires_grad=True)
    for a in (decay, torch.rand(DIRECTIONS, BATCH, 5, DIM, dtype=torch.float64, requires_grad=True)):
        assert torch.autograd.gradcheck(linear_scan, (a, _inputs(5)[0]))


@pytest.mark.parametrize("length", [2, 16, 17, 40])
def test_a_graph_knows_the_shapes_and_the_gradients_beforehand(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "ON_CPU", 1)
    inputs = [tensor.detach() for tensor in _inputs(length)]
    told, found = scan._selective_scan_shapes(*inputs), scan.scan_chunks(*inputs)
    assert [tensor.shape for tensor in told] == [tensor.shape for tensor in found]
    a, b = (tensor.requires_grad_() for tensor in (inputs[1], inputs[0]))
    states, grad = _loop(a, b), torch.randn_like(b)
    saved = SimpleNamespace(saved_tensors=(a.detach(), states.detach()))
    expected = torch.autograd.grad(states, (a, b), grad)
    torch.testing.assert_close(scan._gradients_of_linear_scan(saved, grad), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("length", [1, 15, 17, 300])
def test_blocks_give_the_states_of_the_loop(length: int) -> None:
    a, b = torch.rand(2, 1, length, 3, 2, dtype=torch.float64), torch.randn(2, 1, length, 3, 2, dtype=torch.float64)
    expected = _loop(a, b)
    torch.testing.assert_close(scan._in_blocks(a, b), expected, rtol=0, atol=1e-13)
    torch.testing.assert_close(linear_scan(a, b), expected, rtol=0, atol=1e-13)


def test_the_other_devices_form_goes_backwards_too(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = torch.rand(1, 1, 40, 2, dtype=torch.float64), torch.randn(1, 1, 40, 2, dtype=torch.float64)
    backwards = scan._scan_back(a, b.clone())
    ahead = torch.cat((a[:, :, 1:], a[:, :, :1]), dim=2)
    torch.testing.assert_close(scan._in_blocks(ahead.flip(2), b.flip(2)).flip(2), backwards, rtol=0, atol=1e-13)
    assert float(backwards[0, 0, -2, 0]) == pytest.approx(float(b[0, 0, -2, 0] + a[0, 0, -1, 0] * b[0, 0, -1, 0]))


def test_inputs_stay_as_they_are_and_repetitions_agree() -> None:
    inputs = _inputs(37)
    before = [tensor.detach().clone() for tensor in inputs]
    runs = []
    for _ in range(2):
        y = selective_scan(*inputs)
        runs.append([y, *torch.autograd.grad(y.square().sum(), inputs)])
    assert all(torch.equal(one, other) for one, other in zip(*runs, strict=True))
    assert all(torch.equal(tensor, copy) for tensor, copy in zip(inputs, before, strict=True))


def test_a_compiled_graph_contains_a_scan_as_one_operator() -> None:
    inputs = _inputs(37)
    compiled = torch.compile(selective_scan, fullgraph=True, backend="aot_eager", dynamic=False)
    fast, slow = compiled(*inputs), selective_scan_reference(*inputs)
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-13)
    gradients = (torch.autograd.grad(y.square().sum(), inputs) for y in (fast, slow))
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-11)
    torch.library.opcheck(scan._selective_scan, tuple(inputs))
    torch.library.opcheck(scan._linear_scan, (inputs[1], inputs[0]))


def test_a_scan_costs_a_multiply_add_per_state_and_position_and_one_more_to_read() -> None:
    states = DIM * STATES * 7

    def tied(form: object) -> Operation:
        return Operation(lambda x: form(x, x, x[:, 0, :STATES], x[..., :STATES], x[..., :STATES]))  # type: ignore[operator]

    for form in (selective_scan, selective_scan_reference):
        total = count(tied(form), (1, 7, DIM)).total
        assert dict(total.kinds) == {"recurrence": states, "matmul": states}
        assert total.elementwise == 2 * states + 7 * DIM
        assert total.activations == states + 7 * DIM
    total = count(Operation(lambda x: linear_scan(x[:, :, :1].sigmoid(), x)), (1, 7, DIM)).total
    assert dict(total.kinds) == {"recurrence": 7 * DIM}


def test_a_long_scan_keeps_its_precision() -> None:
    exact = selective_scan(*_inputs(3000))
    single = selective_scan(*_inputs(3000, torch.float32))
    assert float((single - exact).detach().abs().max()) < 1e-5 * float(exact.detach().abs().max())


def test_delta_starts_log_uniform_between_a_thousandth_and_a_tenth() -> None:
    torch.manual_seed(0)
    exponents = F.softplus(scan.initial_delta_bias(4, 1000).double()).log10()
    assert -3.001 < float(exponents.min()) < -2.99
    assert -1.01 < float(exponents.max()) < -0.999
    shares = exponents.histc(4, -3, -1) / exponents.numel()
    assert float((shares - 0.25).abs().max()) < 0.03


def test_float64_stays_and_less_becomes_float32() -> None:
    kept = {torch.float64: torch.float64, torch.float32: torch.float32, torch.bfloat16: torch.float32}
    assert {dtype: scan.wide(torch.ones(2, dtype=dtype)).dtype for dtype in kept} == kept
