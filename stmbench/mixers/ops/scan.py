"""Linear recurrences along a sequence, without kernels of their own: `linear_scan` and the selective scan of Mamba.

    h_t = a_t h_(t-1) + b_t                                        linear_scan, from h = 0 before the first position
    h_t = exp(delta_t A) h_(t-1) + delta_t B_t u_t,  y_t = C_t h_t  selective_scan: Gu and Dao, "Mamba", COLM 2024

Sequences are (K, B, L, ...): K directions, B images, L positions. On the CPU steps are taken one by one, in place, for
chunks that fit the cache; on other devices in blocks (`_in_blocks`), with a number of operations that grows with log L.
The backward pass is another such scan, from the last position to the first. It computes the states again, from those
between chunks, which are kept. Every sum has a fixed order, so both passes are deterministic; there is no second
derivative. A scan is one operator: a compiled graph contains it as it is, whatever L (written out, L = 3136 takes
minutes to compile and is no faster). Half precision would lose the states: callers pass float32 or float64.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stmbench.kernels.operators import describe, operator

BLOCK = 16  # positions that are scanned one by one, in all blocks at once
ON_CPU, ELSEWHERE = 2**17, 2**26  # states in a chunk


def selective_scan(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """The selective scan of channels by themselves, each with n states.

    Args:
        u, delta: (K, B, L, D); delta is positive.
        a: (K, n, D), negative.
        b, c: (K, B, L, n), what is written into the states and read from them.

    Returns:
        y, (K, B, L, D).
    """
    y: Tensor = _selective_scan(u, delta, a, b, c)[0]
    return y


def linear_scan(a: Tensor, b: Tensor) -> Tensor:
    """h_t = a_t h_(t-1) + b_t along axis 2 of b, (K, B, L, ...); `a` can be broadcast to its shape."""
    states: Tensor = _linear_scan(a, b)
    return states


def selective_scan_reference(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """`selective_scan` position by position; autograd can differentiate it.

    The loop goes over `unbind`: selecting position t of a tensor in every step makes the backward pass quadratic in L,
    since each selection's gradient is a tensor of the whole length.
    """
    outputs: list[Tensor] = []
    state = u.new_zeros(a.shape[0], u.shape[1], *a.shape[1:])  # K, B, n, D
    for u_t, delta_t, b_t, c_t in zip(u.unbind(2), delta.unbind(2), b.unbind(2), c.unbind(2), strict=True):
        decay = torch.exp(delta_t[:, :, None] * a[:, None])
        state = decay * state + (delta_t * u_t)[:, :, None] * b_t[..., None]
        outputs.append(torch.einsum("kbnd,kbn->kbd", state, c_t))
    return torch.stack(outputs, dim=2)


def wide(x: Tensor) -> Tensor:
    """In float32, which states need, unless it is float64 already."""
    return x if x.dtype == torch.float64 else x.float()


def initial_delta_bias(scans: int, dim: int) -> Tensor:
    """(scans, dim): softplus of it is log-uniform between 0.001 and 0.1, which Mamba starts delta with."""
    delta = torch.exp(torch.empty(scans, dim).uniform_(math.log(1e-3), math.log(0.1)))
    return delta + torch.log(-torch.expm1(-delta))


@operator(
    "selective_scan",
    schema="(Tensor u, Tensor delta, Tensor a, Tensor b, Tensor c) -> (Tensor, Tensor)",
)
def _selective_scan(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    return scan_chunks(u, delta, a, b, c)


def _selective_scan_shapes(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    size = chunk_size(u, a.shape[1])
    chunks = (u.shape[2] + size - 1) // size
    return u.new_empty(u.shape), u.new_empty(chunks, u.shape[0], u.shape[1], *a.shape[1:])


@operator(
    "selective_scan_backward",
    schema="(Tensor grad, Tensor u, Tensor delta, Tensor a, Tensor b, Tensor c, Tensor starts)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def _selective_scan_backward(
    grad: Tensor, u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, starts: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    return scan_chunks_back(grad, u, delta, a, b, c, starts)


def _selective_scan_backward_shapes(grad: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    return tuple(tensor.new_empty(tensor.shape) for tensor in inputs[:5])


@operator("linear_scan", schema="(Tensor a, Tensor b) -> Tensor")
def _linear_scan(a: Tensor, b: Tensor) -> Tensor:
    return _scan(a.expand_as(b), b.clone(memory_format=torch.contiguous_format))


@operator("linear_scan_back", schema="(Tensor a, Tensor b) -> Tensor")
def _linear_scan_back(a: Tensor, b: Tensor) -> Tensor:
    return _scan_back(a.expand_as(b), b.clone(memory_format=torch.contiguous_format))


def _linear_scan_shapes(a: Tensor, b: Tensor) -> Tensor:
    return b.new_empty(b.shape)


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs, output[1])


def _keep_states(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0], output)


def _gradients_of_selective_scan(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, ...]:
    return tuple(_selective_scan_backward(grad, *ctx.saved_tensors))


def _gradients_of_linear_scan(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
    a, states = ctx.saved_tensors
    flow = _linear_scan_back(a, grad)
    before = torch.cat((torch.zeros_like(states[:, :, :1]), states[:, :, :-1]), dim=2)
    return (flow * before).sum_to_size(a.shape), flow


describe(_selective_scan, shapes=_selective_scan_shapes, gradient=_gradients_of_selective_scan, keep=_keep)
describe(_selective_scan_backward, shapes=_selective_scan_backward_shapes)
describe(_linear_scan, shapes=_linear_scan_shapes, gradient=_gradients_of_linear_scan, keep=_keep_states)
describe(_linear_scan_back, shapes=_linear_scan_shapes)


def scan_chunks(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """y of `selective_scan`, and the states (chunks, K, B, n, D) before each chunk."""
    y, starts = torch.empty(u.shape, dtype=u.dtype, device=u.device), []
    state = u.new_zeros(u.shape[0], u.shape[1], *a.shape[1:])
    size = chunk_size(u, a.shape[1])
    for u_, delta_, b_, c_, y_ in zip(*(torch.split(t, size, dim=2) for t in (u, delta, b, c, y)), strict=True):
        starts.append(state)
        _, _, states = _states(u_, delta_, b_, a, state)
        y_.copy_(_read(states, c_))
        state = states[:, :, -1].clone()
    return y, torch.stack(starts)


def scan_chunks_back(
    grad: Tensor, u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, starts: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The gradients of u, delta, a, b and c, from the last chunk to the first, given that of y."""
    to_u, to_delta, to_b, to_c = (torch.empty_like(t, memory_format=torch.contiguous_format) for t in (u, delta, b, c))
    to_a, later = torch.zeros_like(a, memory_format=torch.contiguous_format), None
    whole = (grad, u, delta, b, c, to_u, to_delta, to_b, to_c)
    size = chunk_size(u, a.shape[1])
    chunks = list(zip(*(torch.split(tensor, size, dim=2) for tensor in whole), strict=True))
    for chunk, start in zip(reversed(chunks), reversed(starts.unbind()), strict=True):
        grad_, u_, delta_, b_, c_, to_u_, to_delta_, to_b_, to_c_ = chunk
        decay, step, states = _states(u_, delta_, b_, a, start)
        to_c_.copy_((states * grad_[:, :, :, None]).sum(dim=4))
        flow = grad_[:, :, :, None] * c_[..., None]  # gradient of the states: K, B, T, n, D
        if later is not None:
            flow[:, :, -1] += later
        flow = _scan_back(decay, flow)
        later = decay[:, :, 0] * flow[:, :, 0]
        to_b_.copy_((flow * step[:, :, :, None]).sum(dim=4))
        of_step = _read(flow, b_)
        exponents = decay.mul_(flow)  # gradient of delta A: flow x decay x the state before
        exponents[:, :, 1:] *= states[:, :, :-1]
        exponents[:, :, 0] *= start
        to_a += (exponents * delta_[:, :, :, None]).sum(dim=(1, 2))
        to_delta_.copy_(_sum_of_states(exponents * a[:, None, None]).addcmul_(u_, of_step))
        torch.mul(delta_, of_step, out=to_u_)
    return to_u, to_delta, to_a, to_b, to_c


def chunk_size(u: Tensor, states: int) -> int:
    """Positions per chunk: as many as fit, at least a block."""
    per_position = max(1, u[:, :, 0].numel() * states)
    return max(BLOCK, (ON_CPU if u.device.type == "cpu" else ELSEWHERE) // per_position)


def _states(u: Tensor, delta: Tensor, b: Tensor, a: Tensor, start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """exp(delta A), delta u and the states of a chunk that follows the state `start`."""
    decay = (delta[:, :, :, None] * a[:, None, None]).exp_()
    step = delta * u
    written = _written(step, b)
    written[:, :, 0].addcmul_(decay[:, :, 0], start)
    return decay, step, _scan(decay, written)


def _written(step: Tensor, b: Tensor) -> Tensor:
    """(K, B, L, D), (K, B, L, n) -> (K, B, L, n, D)."""
    return step[:, :, :, None] * b[..., None]


def _read(states: Tensor, c: Tensor) -> Tensor:
    """(K, B, L, n, D), (K, B, L, n) -> (K, B, L, D)."""
    return _sum_of_states(states * c[..., None])


def _sum_of_states(products: Tensor) -> Tensor:
    """(K, B, L, n, D) -> (K, B, L, D): a view where there is one state only."""
    return products.squeeze(3) if products.shape[3] == 1 else products.sum(dim=3)


def _scan(a: Tensor, b: Tensor) -> Tensor:
    """h_t = a_t h_(t-1) + b_t along axis 2; it may be written into b."""
    if b.device.type != "cpu":
        return _in_blocks(a, b)
    state: Tensor | None = None
    for decay, new in zip(a.unbind(2), b.unbind(2), strict=True):
        state = new if state is None else new.addcmul_(decay, state)
    return b


def _scan_back(a: Tensor, b: Tensor) -> Tensor:
    """g_t = b_t + a_(t+1) g_(t+1) along axis 2, the transpose of `_scan`; it may be written into b."""
    if b.device.type != "cpu":
        ahead = torch.cat((a[:, :, 1:], a[:, :, :1]), dim=2)  # what the last position has is never used
        return _in_blocks(ahead.flip(2), b.flip(2)).flip(2)
    decays, flows = a.unbind(2), b.unbind(2)
    for t in range(len(flows) - 1, 0, -1):
        flows[t - 1].addcmul_(decays[t], flows[t])
    return b


def _in_blocks(a: Tensor, b: Tensor) -> Tensor:
    """h_t = a_t h_(t-1) + b_t along axis 2, out of place: in all blocks at once, then between blocks likewise."""
    length = b.shape[2]
    if length <= BLOCK:
        return torch.stack(_steps(a, b, axis=2)[0], dim=2)
    blocks = (length + BLOCK - 1) // BLOCK
    missing = (0, 0) * (b.ndim - 3) + (0, blocks * BLOCK - length)
    shape = (*b.shape[:2], blocks, BLOCK, *b.shape[3:])
    a, b = (F.pad(tensor, missing).view(shape) for tensor in (a, b))
    states, reach = _steps(a, b, axis=3)
    ends = _in_blocks(reach[-1], states[-1])
    carried = torch.cat((torch.zeros_like(ends[:, :, :1]), ends[:, :, :-1]), dim=2)
    whole = torch.addcmul(torch.stack(states, dim=3), torch.stack(reach, dim=3), carried.unsqueeze(3))
    return whole.flatten(2, 3)[:, :, :length]


def _steps(a: Tensor, b: Tensor, axis: int) -> tuple[list[Tensor], list[Tensor]]:
    """States from zero, and the products of all decays so far, position by position along `axis`."""
    states: list[Tensor] = []
    reach: list[Tensor] = []
    for decay, new in zip(a.unbind(axis), b.unbind(axis), strict=True):
        states.append(torch.addcmul(new, decay, states[-1]) if states else new)
        reach.append(decay * reach[-1] if reach else decay)
    return states, reach
