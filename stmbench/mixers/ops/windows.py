"""Non-overlapping windows of a channels-last map, and the padding that makes any map divisible into them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

MOST_WINDOWS = 65_535  # of one fused call: the limit of a CUDA grid's second and third dimension


def padded_size(size: int, window: int) -> int:
    """The smallest multiple of `window` that holds `size` tokens."""
    return -(-size // window) * window


def pad_to_windows(x: Tensor, window: int) -> Tensor:
    """(B, H, W, C) with zero rows below and zero columns to the right, so that both sides divide by `window`."""
    height, width = x.shape[1:3]
    bottom, right = padded_size(height, window) - height, padded_size(width, window) - width
    if bottom == 0 and right == 0:
        return x
    return F.pad(x, (0, 0, 0, right, 0, bottom))


def split_heads(x: Tensor, window: int, parts: int, heads: int) -> tuple[Tensor, ...]:
    """(B, H, W, parts * heads * d) -> `parts` tensors (B, windows, heads, window^2, d), by one copy.

    The channels are laid out part by part, and head by head within a part.
    """
    batch, height, width, channels = x.shape
    rows, columns = height // window, width // window
    x = x.view(batch, rows, window, columns, window, parts, heads, channels // (parts * heads))
    x = x.permute(5, 0, 1, 3, 6, 2, 4, 7)  # parts, B, rows, columns, heads, window, window, d
    return x.reshape(parts, batch, rows * columns, heads, window * window, -1).unbind(0)


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


def window_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float | None = None) -> Tensor:
    """softmax(scale q k^T + bias) v by fused attention, in as many calls as the windows need.

    Args:
        q: (windows, heads, M^2, d); k, v: (windows, heads, keys, d). Either of the first two dimensions may be large.
        bias: (windows or 1, heads, M^2, keys); None for none.
        scale: d^-1/2 where it is None.

    Returns:
        (windows, heads, M^2, d).
    """
    for dim in (0, 1):
        if q.shape[dim] > MOST_WINDOWS:
            parts = [_split(tensor, dim) for tensor in (q, k, v)]
            biases = [bias] * len(parts[0]) if bias is None or bias.shape[dim] == 1 else _split(bias, dim)
            pieces = zip(*parts, biases, strict=True)
            return torch.cat([window_attention(q, k, v, bias, scale) for q, k, v, bias in pieces], dim)
    if bias is not None and bias.requires_grad and torch.is_grad_enabled() and q.device.type == "cpu":
        # a bias that learns is not fused on a CPU: written out it is faster, as there are no rows without a key
        logits = (q * (q.shape[-1] ** -0.5 if scale is None else scale)) @ k.transpose(2, 3)
        logits += bias
        mixed: Tensor = logits.softmax(dim=-1) @ v
        return mixed
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=scale)


def _split(tensor: Tensor, dim: int) -> list[Tensor]:
    """Slices of at most MOST_WINDOWS entries along `dim`."""
    length = tensor.shape[dim]
    return [tensor.narrow(dim, start, min(MOST_WINDOWS, length - start)) for start in range(0, length, MOST_WINDOWS)]
