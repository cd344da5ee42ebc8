"""The tests of scans and of depthwise convolutions notice a flipped sign or comparison anywhere in them, backward too.

The conformance suite runs either in one way only: these tests run them in all, and against PyTorch's gradients.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Final

import pytest
import torch

from stmbench.mixers.ops import depthwise, scan
from tests.conformance.mutants import Mutant, mutants, mutated
from tests.mixers import test_depthwise, test_scan

Check = Callable[[], None]


def of_scans(monkeypatch: pytest.MonkeyPatch) -> list[Check]:
    def patched(test: Callable[..., None], *case: int) -> Check:
        def check() -> None:
            with monkeypatch.context() as within:
                test(*case, within)

        return check

    own, lengths = test_scan, (2, 16, 17, 40)
    return [
        *(partial(own.test_blocks_give_the_states_of_the_loop, length) for length in (*lengths, 300)),
        *(patched(own.test_a_graph_knows_the_shapes_and_the_gradients_beforehand, length) for length in lengths),
        *(
            patched(own.test_a_selective_scan_and_its_gradients_are_those_of_the_loop, *case)
            for case in itertools.product((1, 37), (scan.ON_CPU, 1))
        ),
        patched(own.test_the_gradients_are_the_differences),
        own.test_delta_starts_log_uniform_between_a_thousandth_and_a_tenth,
        own.test_float64_stays_and_less_becomes_float32,
    ]


def of_depthwise(monkeypatch: pytest.MonkeyPatch) -> list[Check]:
    monkeypatch.setattr(depthwise, "WORTHWHILE", 0)
    check = test_depthwise.test_forward_and_gradients_are_pytorchs
    return [partial(check, *case, dtype) for case in test_depthwise.CASES for dtype in (torch.float64, torch.float32)]


EXAMINED: Final = {"ops.scan": of_scans, "ops.depthwise": of_depthwise}
# flipped operators that change nothing, and why
SPEED: Final = "the other way gives the same"
SURVIVE: Final = {
    "ops.scan: chunk_size: u.device.type != 'cpu'": "chunks of another size",
    "ops.scan: _scan: b.device.type == 'cpu'": SPEED,
    "ops.scan: _scan_back: b.device.type == 'cpu'": SPEED,
    "ops.scan: _in_blocks: length + BLOCK + 1": "a block more, which is cut off",
    **{
        f"ops.depthwise: depthwise_conv: {flipped}": SPEED
        for flipped in ("x.device.type == 'cpu'", "dilation != 1", "side >= FOURIER_FROM")
    },
    "ops.depthwise: _Depthwise.backward: kernel.shape[2] < COMPILED_FROM[0]": "runs with kernels only",
    **{
        f"ops.depthwise: _convolved: {flipped}": SPEED
        for flipped in (
            "span > _fast_span(image)",
            "kernel.shape[2] != SLOW",
        )
    },
    **{
        f"ops.depthwise: _is_faster_compiled: {flipped}": SPEED
        for flipped in (
            "image.dtype != torch.float64",
            "dilation * (kernel.shape[2] - 1) - 1",
            "kernel.shape[2] + 1",
            "span > _fast_span(image)",
            "dilation <= 1",
            "max(image.shape[2:]) >= WIDE",
            "span < FAST",
            "span < COMPILED_FROM[1]",
        )
    },
    **{f"ops.depthwise: _fast_span: {flipped}": SPEED for flipped in ("2 * side - 1", "side < WIDE")},
    **{
        f"ops.depthwise: {flipped}": "more taps or zeros, which find nothing"
        for flipped in (
            "_convolved: max(image.shape[2:]) + 1",
            "_convolved: FAST + SLOW",
            "_by_spectra: height + 1",
            "_by_spectra: width + 1",
        )
    },
    **{
        f"ops.depthwise: _is_worthwhile: {flipped}": SPEED
        for flipped in (
            "side >= COMPILED_FROM[0]",
            "x.numel() * side ** 2 >= WORTHWHILE",
            "side < COMPILED_FROM[1]",
            "x.dtype != torch.float64",
        )
    },
}


def survives(mutant: Mutant, checks: list[Check]) -> bool:
    with mutated(mutant):
        try:
            for check in checks:
                check()
        except Exception:  # whatever the fault leads to
            return False
    return True


@pytest.mark.parametrize("module", EXAMINED)
def test_no_flipped_operator_passes(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STMBENCH_KERNELS", "off")  # these have tests of their own
    checks = EXAMINED[module](monkeypatch)
    for check in checks:
        check()  # or every mutant would fail
    survivors = {str(mutant) for mutant in mutants(module, with_backward=True) if survives(mutant, checks)}
    assert survivors == {text for text in SURVIVE if text.startswith(f"{module}:")}
