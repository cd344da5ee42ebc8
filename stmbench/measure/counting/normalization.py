"""Norms, pooling and activation functions: not in `macs`, but in some published figures and in the memory traffic.

The multiply-adds are fvcore's estimates, so that published totals that were obtained with it can be reproduced.
"""

from __future__ import annotations

from math import prod

from stmbench.measure.counting.handles import Call, Tally, handle


@handle("aten::layer_norm", "aten::group_norm")
def layer_norm(call: Call) -> Tally:
    """5 per element, 4 without weights."""
    return _norm(call, 5 if call.is_tensor(2) else 4)


@handle("aten::instance_norm")
def instance_norm(call: Call) -> Tally:
    """5 per element, 4 without weights."""
    return _norm(call, 5 if call.is_tensor(1) else 4)


@handle("aten::rms_norm")
def rms_norm(call: Call) -> Tally:
    """4 per element, 3 without weights: a LayerNorm that does not subtract the mean (fvcore has no rule)."""
    return _norm(call, 4 if call.is_tensor(2) else 3)


@handle("aten::batch_norm")
def batch_norm(call: Call) -> Tally:
    """2 per element with running statistics, 1 without weights; 5 and 4 with the statistics of the batch."""
    training = bool(call.constant(5))
    return _norm(call, (4 if training else 1) + call.is_tensor(1))


def _norm(call: Call, each: int) -> Tally:
    return Tally(kinds={"norm": prod(call.shape(0)) * each}, elements_moved=call.elements_moved)


@handle("aten::adaptive_avg_pool1d", "aten::adaptive_avg_pool2d", "aten::adaptive_avg_pool3d", "aten::mean")
def average(call: Call) -> Tally:
    """1 per input element. A mean over positions is global average pooling, written differently."""
    return Tally(kinds={"pool": prod(call.shape(0))}, elements_moved=call.elements_moved)


def traffic(call: Call) -> Tally:
    """No multiply-adds, only memory traffic."""
    return Tally(elements_moved=call.elements_moved)


POOLING = (
    *(f"aten::{name}_pool{d}d" for name in ("avg", "max", "adaptive_max") for d in (1, 2, 3)),
    *(f"aten::max_pool{d}d_with_indices" for d in (1, 2, 3)),
    "aten::lp_pool2d",
)
ACTIVATIONS = tuple(
    f"aten::{name}{suffix}"
    for name in (
        "celu", "elu", "erf", "gelu", "glu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu",
        "log_sigmoid", "log_softmax", "mish", "prelu", "relu", "relu6", "selu", "sigmoid", "silu", "softmax",
        "softplus", "softsign", "tanh",
    )
    for suffix in ("", "_")
)  # fmt: skip
for operation in (*POOLING, *ACTIVATIONS):
    handle(operation)(traffic)
