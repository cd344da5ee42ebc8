"""What has no rule is never counted as nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stmbench.architectures.catalog import create_model
from stmbench.errors import CountError, DuplicateNameError
from stmbench.measure.counting import Call, Tally, count, handle, register_free
from stmbench.measure.counting.free_operations import FREE
from stmbench.measure.counting.handles import HANDLES
from tests.measure.counting.operations import Operation


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2


class Nested(nn.Module):
    def __init__(self, inner: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Identity(), Operation(inner)])

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


def branch(x: Tensor) -> Tensor:
    if bool(x.sum() > 0):
        x = x @ x
    return x


class CallsAScript(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = torch.jit.script(branch)(x)
        return y


UNKNOWN: dict[str, Callable[[Tensor], Tensor]] = {
    "aten::cdist": lambda x: torch.cdist(x, x),
    "aten::linalg_inv": lambda x: torch.linalg.inv(x),
    "aten::lgamma": torch.lgamma,
    "prim::PythonOp.Doubled": lambda x: Doubled.apply(x),  # type: ignore[no-any-return, no-untyped-call]
}


@pytest.mark.parametrize("operation", UNKNOWN)
def test_an_operation_without_a_rule_is_named_with_its_module(operation: str) -> None:
    with pytest.raises(CountError, match=rf"({operation}) in blocks\.1"):
        count(Nested(UNKNOWN[operation]), (4, 4))


def test_operation_that_fvcore_skips_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(HANDLES, "aten::relu")  # on fvcore's own list of operations to ignore
    with pytest.raises(CountError, match="aten::relu in the model itself"):
        count(nn.ReLU(), (4, 4))


def test_scripted_branch_is_named() -> None:
    with pytest.raises(CountError, match=r"prim::(If|CallFunction)"):
        count(CallsAScript(), (4, 4))


def test_model_that_cannot_run_is_refused() -> None:
    with pytest.raises(CountError, match=r"Linear cannot be traced on an input of \(1, 4, 9\)"):
        count(nn.Linear(8, 8), (4, 9))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("unified_global_filter_nano[resize=false]", "expected a map of 8x8, .* got 24x16; "),
        ("unified_random_mixing_nano[resize=false]", "expected a map of 8x8, .* got 24x16; "),
        ("unified_mlp_nano[resize=false]", "expected a map of 8x8, .* got 24x16; "),
    ],
)
def test_a_size_that_a_model_refuses_is_two_numbers(name: str, expected: str) -> None:
    with pytest.raises(CountError, match=expected):
        count(create_model(name), (3, 96, 64))


def test_an_image_that_is_too_small_is_two_numbers() -> None:
    with pytest.raises(CountError, match=r"expected an image of at least .* got 3x2; "):
        count(create_model("isotropic_conv3_nano"), (3, 3, 2))


def test_a_size_in_the_words_of_others_is_a_number() -> None:
    def refusing(x: Tensor) -> Tensor:
        raise ValueError(f"no {x.shape[1]} rows of {x.shape[2]!r}")

    with pytest.raises(CountError, match=r"ValueError: no 5 rows of 7$"):
        count(Operation(refusing), (5, 7))


def test_many_unknown_operations_make_one_short_message() -> None:
    def many(x: Tensor) -> Tensor:
        return torch.lgamma(x) + torch.digamma(x) + torch.erfinv(x) + torch.i0(x) + torch.sinc(x)

    with pytest.raises(CountError, match="and 2 more") as raised:
        count(Operation(many), (4,))
    assert len(str(raised.value).splitlines()) == 1


def test_custom_handle_is_used() -> None:
    try:

        @handle("aten::cdist")
        def distances(call: Call) -> Tally:
            rows, depth = call.shape(0)[-2:]
            return call.tally("matmul", rows * call.output[-1] * depth)

        assert count(Operation(lambda x: torch.cdist(x, x)), (4, 8)).macs == 4 * 4 * 8
        with pytest.raises(DuplicateNameError, match=re.escape("aten::cdist")):
            handle("aten::cdist")(distances)
    finally:
        HANDLES.pop("aten::cdist", None)


def test_an_operation_declared_free() -> None:
    register_free("aten::lgamma")
    try:
        assert count(Operation(torch.lgamma), (4,)).macs == 0
    finally:
        FREE.discard("aten::lgamma")


def test_no_operation_is_both_counted_and_free() -> None:
    assert HANDLES.keys() & FREE == set()
