"""Fused attention: the two products that it stands for, as if they were written out.

An additive mask, the scaling and the softmax are free, as they are when attention is not fused. A causal or masked
entry is computed and thrown away by most kernels, so it counts.
"""

from __future__ import annotations

from math import prod

from stmbench.measure.counting.handles import Call, handle
from stmbench.measure.counting.tally import Tally


@handle(
    "aten::scaled_dot_product_attention",
    "aten::_scaled_dot_product_attention_math",
    "aten::_scaled_dot_product_flash_attention",
    "aten::_scaled_dot_product_flash_attention_for_cpu",
    "aten::_scaled_dot_product_efficient_attention",
    "aten::_scaled_dot_product_cudnn_attention",
    "aten::_scaled_dot_product_fused_attention_overrideable",
)
def attention(call: Call) -> Tally:
    """Queries (..., heads, N, d), keys (..., heads, M, d), values (..., heads, M, e): N M (d + e) a head."""
    *rows, width = call.output
    depth, keys = call.shape(0)[-1], call.shape(1)[-2]
    # both products put out activations, also where the kernel keeps the first to itself
    return Tally(
        kinds={"matmul": prod(rows) * keys * (depth + width)},
        activations=prod(rows) * (keys + width),
        elements_moved=call.elements_moved,
    )


@handle("aten::_native_multi_head_attention")
def native_attention(call: Call) -> Tally:
    """nn.MultiheadAttention in one call: three projections, two products, one projection."""
    batch, queries, dim = call.shape(0)
    keys = call.shape(1)[1]
    linear = batch * dim * dim * (2 * queries + 2 * keys)
    # its activations: q, k, v, the attention maps of all heads, what they weigh together, the output
    maps = batch * int(call.constant(4)) * queries * keys
    return Tally(
        kinds={"linear": linear, "matmul": 2 * batch * queries * keys * dim},
        activations=batch * dim * (3 * queries + 2 * keys) + maps,
        elements_moved=call.elements_moved,
    )
