"""Non-overlapping windows of a channels-last map, and the padding that makes any map divisible into them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from stmbench.errors import require
from stmbench.kernels import halo as kernels
from stmbench.kernels.setting import WHOLE, can_run
from stmbench.kernels.softmax import biased_softmax, relative_softmax
from stmbench.mixers.ops import is_eager_on_cpu, needs_gradient

# how far below a row's largest logit a share is no normal number any more; masks add -100
FAR = {torch.float32: 87.0, torch.bfloat16: 87.0}
USUAL = 7  # side of a window, in the networks of most authors
MOST_WINDOWS = 65_535  # of one fused call: the limit of a CUDA grid's second and third dimension


def padded_size(size: int, window: int) -> int:
    """The smallest multiple of `window` that holds `size` tokens."""
    return -(-size // window) * window


def require_fitting(name: str, value: int, resolution: tuple[int, int]) -> None:
    """Raise ConfigError for an option `name` that would pad a map of `resolution` to more than twice its side.

    Small maps are padded to what is usual, whatever their side: the last map of an image of 32 pixels has one token.
    """
    most = 2 * max(USUAL, min(resolution))
    require(
        value <= most,
        f"{name} <= {most} for a map of {resolution[0]} x {resolution[1]}, which would be padded to it",
        value,
        "use a smaller one, or larger images (img_size=)",
    )


def pad_to_windows(x: Tensor, window: int) -> Tensor:
    """(B, H, W, C) with zero rows below and zero columns to the right, so that both sides divide by `window`."""
    height, width = x.shape[1:3]
    return extended(x, padded_size(height, window) - height, padded_size(width, window) - width)


def extended(x: Tensor, below: int, right: int) -> Tensor:
    """(B, H, W, C) with zero rows below and zero columns to the right; the map itself where there are none, of which
    PyTorch would make a copy."""
    return F.pad(x, (0, 0, 0, right, 0, below)) if below or right else x


def split_heads(x: Tensor, window: int, parts: int, heads: int) -> tuple[Tensor, ...]:
    """(B, H, W, parts * heads * d) -> `parts` tensors (B, windows, heads, window^2, d), by one copy.

    The channels are laid out part by part, and head by head within a part.
    """
    if is_eager_on_cpu(x) and needs_gradient(x):
        split: tuple[Tensor, ...] = _SplitHeads.apply(x, window, parts, heads)
        return split
    return _split_heads(x, window, parts, heads)


def _split_heads(x: Tensor, window: int, parts: int, heads: int) -> tuple[Tensor, ...]:
    batch, height, width, channels = x.shape
    rows, columns, depth = height // window, width // window, channels // (parts * heads)
    x = x.view(batch, rows, window, columns, window, parts, heads, depth)
    x = x.permute(5, 0, 1, 3, 6, 2, 4, 7)  # parts, B, rows, columns, heads, window, window, d
    return x.reshape(parts, batch, rows * columns, heads, window * window, depth).unbind(0)


def merge_heads(x: Tensor, window: int, height: int, width: int) -> Tensor:
    """(B, windows, heads, window^2, d) -> (B, H, W, heads * d); the inverse of `split_heads` for one part."""
    batch, _, heads, _, depth = x.shape
    x = x.view(batch, height // window, width // window, heads, window, window, depth)
    return x.permute(0, 1, 4, 2, 5, 3, 6).reshape(batch, height, width, heads * depth)


def window_positions(rows: int, columns: int, window: int, shift: int, device: torch.device) -> Tensor:
    """(windows, window^2) long: the position on a rows x columns map of every token of every window, once the map was
    moved cyclically up and left by `shift`."""
    positions = torch.arange(rows * columns, device=device).view(rows, columns).roll((-shift, -shift), (0, 1))
    positions = positions.view(rows // window, window, columns // window, window).permute(0, 2, 1, 3)
    return positions.reshape(-1, window * window)


def cropped_positions(positions: Tensor, columns: int, height: int, width: int) -> Tensor:
    """Positions on a padded map that is `columns` wide, as positions on the height x width map; -1 for padding."""
    y, x = positions // columns, positions % columns
    return torch.where((y < height) & (x < width), y * width + x, -1)


def window_attention(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float | None = None, *, is_mask: bool = False
) -> Tensor:
    """softmax(scale q k^T + bias) v by fused attention, in as many calls as the windows need.

    Args:
        q: (windows, heads, M^2, d); k, v: (windows, heads, keys, d). Either of the first two dimensions may be large.
        bias: (windows or 1, heads, M^2, keys); None for none.
        scale: d^-1/2 where it is None.
        is_mask: whether the bias pushes some keys so far below others (-100, as Swin does) that their shares would be
            subnormal numbers, which a CPU multiplies many times more slowly: they are 0 then.

    Returns:
        (windows, heads, M^2, d).
    """
    for dim in (0, 1):
        if q.shape[dim] > MOST_WINDOWS:
            parts = [_split(tensor, dim) for tensor in (q, k, v)]
            biases = [bias] * len(parts[0]) if bias is None or bias.shape[dim] == 1 else _split(bias, dim)
            pieces = zip(*parts, biases, strict=True)
            return torch.cat([window_attention(q, k, v, bias, scale, is_mask=is_mask) for q, k, v, bias in pieces], dim)
    if bias is not None and bias.requires_grad and torch.is_grad_enabled() and q.device.type == "cpu":
        # a bias that learns is not fused on a CPU: written out it is faster, as there are no rows without a key
        scale = q.shape[-1] ** -0.5 if scale is None else scale
        return _shares(q, k, bias, scale, is_mask) @ v
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=scale)


def _shares(q: Tensor, k: Tensor, bias: Tensor, scale: float, is_mask: bool) -> Tensor:
    is_whole = bias.ndim == 4 and bias.shape[2:] == (q.shape[2], k.shape[2])  # not one that PyTorch would repeat
    if is_mask and is_whole and q.dtype in WHOLE and can_run(q, k, bias):
        dtype = torch.promote_types(q.dtype, bias.dtype)
        logits = (q @ k.transpose(2, 3)).to(dtype)  # in half precision under autocast
        shares: Tensor = biased_softmax(logits, bias.to(dtype), scale)
        return shares
    logits = (q * scale) @ k.transpose(2, 3)
    logits += bias
    if is_mask and logits.dtype in FAR:
        least = logits.detach().amax(dim=-1, keepdim=True) - FAR[logits.dtype]
        logits = logits.masked_fill(logits < least, -torch.inf)
    return logits.softmax(dim=-1)


def relative_bias(vertical: Tensor, horizontal: Tensor) -> Tensor:
    """The sum of a term of the key's row and one of its column: (..., rows) and (..., columns) -> (..., keys)."""
    return (vertical[..., :, None] + horizontal[..., None, :]).flatten(-2)


def relative_window_attention(q: Tensor, k: Tensor, v: Tensor, vertical: Tensor, horizontal: Tensor) -> Tensor:
    """`window_attention` with `relative_bias(vertical, horizontal)`, (windows, heads, M^2, rows or columns)."""
    if needs_gradient(q, k, vertical, horizontal) and q.dtype in WHOLE and can_run(q, k, v):
        logits = q @ k.transpose(2, 3)
        dtype = torch.promote_types(logits.dtype, vertical.dtype)
        if dtype in WHOLE:  # not so under autocast
            scale = q.shape[-1] ** -0.5
            shares = relative_softmax(logits.to(dtype), vertical.to(dtype), horizontal.to(dtype), scale)
            mixed: Tensor = shares @ v
            return mixed
    return window_attention(q, k, v, relative_bias(vertical, horizontal))


def halo_tokens(kv: Tensor, heads: int, window: int, before: int, reach: int) -> tuple[Tensor, Tensor]:
    """`stmbench.kernels.halo.halo_tokens`, which has the shapes, in any dtype and wherever the kernel cannot run."""
    if kv.dtype in WHOLE and can_run(kv):
        keys, values = kernels.halo_tokens(kv, heads, window, before, reach)
    elif is_eager_on_cpu(kv) and needs_gradient(kv):
        keys, values = _HaloTokens.apply(kv, heads, window, before, reach)
    else:
        keys, values = _unfolded(kv, heads, window, before, reach)
    return keys, values


def _unfolded(kv: Tensor, heads: int, window: int, before: int, reach: int) -> tuple[Tensor, Tensor]:
    batch, _, _, channels = kv.shape
    after = reach - before - window
    kv = F.pad(kv, (0, 0, before, after, before, after))
    kv = kv.unfold(1, reach, window).unfold(2, reach, window)
    rows, columns = kv.shape[1:3]  # B, rows, columns, 2 C, reach, reach
    kv = kv.reshape(batch, rows, columns, heads, 2, channels // (2 * heads), reach, reach)
    kv = kv.permute(4, 0, 1, 2, 3, 6, 7, 5)  # 2, B, rows, columns, heads, reach, reach, d
    keys, values = kv.reshape(2, batch * rows * columns, heads, reach**2, -1).unbind(0)
    return keys, values


class _SplitHeads(torch.autograd.Function):
    """`_split_heads`; its backward pass copies every part to its place, where autograd's stacks them all first."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, window: int, parts: int, heads: int) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.shape, ctx.numbers = x.shape, (window, parts, heads)
        return _split_heads(x, window, parts, heads)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        (batch, height, width, channels), (window, parts, heads) = ctx.shape, ctx.numbers
        down, across, depth = height // window, width // window, channels // (parts * heads)
        defined = next((gradient for gradient in gradients if gradient is not None), None)
        if defined is None:
            return None, None, None, None
        of_x = defined.new_empty(batch, down, window, across, window, parts, heads, depth)
        for part, gradient in enumerate(gradients):
            if gradient is None:
                of_x[:, :, :, :, :, part] = 0
                continue
            windows = gradient.reshape(batch, down, across, heads, window, window, depth)
            of_x[:, :, :, :, :, part] = windows.permute(0, 1, 4, 2, 5, 3, 6)
        return of_x.view(batch, height, width, channels), None, None, None


class _HaloTokens(torch.autograd.Function):
    """`_unfolded`; its backward pass adds blocks of all windows at once, where autograd's adds token by token."""

    @staticmethod
    def forward(ctx: Any, kv: Tensor, heads: int, window: int, before: int, reach: int) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.numbers = (kv.shape, heads, window, before, reach)
        return _unfolded(kv, heads, window, before, reach)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        (batch, height, width, channels), heads, window, before, reach = ctx.numbers
        defined = next((gradient for gradient in gradients if gradient is not None), None)
        if defined is None:
            return (None,) * 5
        down, across, side = height // window, width // window, window * -(-reach // window)
        # the map with its halo, as blocks of a window's size: B, rows, window, columns, window, heads, 2, d
        blocks = (down + side // window - 1, across + side // window - 1)
        shape = (batch, blocks[0], window, blocks[1], window, heads, 2, channels // (2 * heads))
        of_kv = defined.new_zeros(shape)
        for part, gradient in enumerate(gradients):
            if gradient is None:
                continue
            windows = gradient.reshape(batch, down, across, heads, reach, reach, -1).permute(0, 1, 4, 2, 5, 3, 6)
            for i in range(0, reach, window):
                for j in range(0, reach, window):
                    block = windows[:, :, i : i + window, :, j : j + window]
                    rows, columns = slice(i // window, i // window + down), slice(j // window, j // window + across)
                    target = of_kv[:, rows, : block.shape[2], columns, : block.shape[4], :, part]
                    target += block
        whole = of_kv.view(batch, blocks[0] * window, blocks[1] * window, channels)
        return whole[:, before : before + height, before : before + width], None, None, None, None


def _split(tensor: Tensor, dim: int) -> list[Tensor]:
    """Slices of at most MOST_WINDOWS entries along `dim`."""
    length = tensor.shape[dim]
    return [tensor.narrow(dim, start, min(MOST_WINDOWS, length - start)) for start in range(0, length, MOST_WINDOWS)]
