"""Weighted bilinear samples of a channels-last map: the sum of K points for each position and group of channels.

Two implementations of one function. `grid_sums` is differentiable and runs anywhere; `gathered_sums` is for inference
on a CPU: four neighbours times K points become one weighted gather of rows, in the map's own layout. Where every token
samples around itself, a compiled kernel does all of it in one pass. Besides, samples at a few points of the map, and of
a table of displacements, for attention to such points.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from stmbench.kernels.setting import can_run
from stmbench.kernels.sums import DEVICES, deformable_sums
from stmbench.mixers.ops import cached_table, is_eager_on_cpu, needs_gradient

_ROWS = 2**31 - 1  # what a 32-bit index can count


def deformable_samples(
    value: Tensor, offsets: Tensor, weights: Tensor, grid: Tensor, *, scale: float = 1.0, softmax: bool = False
) -> Tensor:
    """`weighted_samples` at `deformed_positions`: what deformable convolutions do.

    Args:
        value: (B, H, W, C).
        offsets: (B, H, W, groups, K, 2), (x, y) in tokens, float32 or float64.
        weights: (B, H, W, groups, K).
        grid: (K, 2), (x, y) in tokens: where the points are without offsets.
        scale: of the offsets.
        softmax: whether the weights are the softmax over K of what is given.

    Returns:
        (B, H, W, C) in the dtype of `value`.
    """
    if can_run(value, offsets, weights, devices=DEVICES):
        dtype = offsets.dtype
        sums: Tensor = deformable_sums(value.to(dtype), offsets, weights.to(dtype), grid, scale, softmax)
        return sums.to(value.dtype)
    return weighted_samples(
        value, deformed_positions(offsets, grid, scale), softmax_of_few(weights) if softmax else weights
    )


def deformed_positions(offsets: Tensor, grid: Tensor, scale: float = 1.0) -> Tensor:
    """Each token's position + grid + scale * offsets: (B, H, W, groups, K, 2) and (K, 2) -> (B, H, W, groups, K, 2)."""
    height, width = offsets.shape[1:3]
    tokens = token_positions(height, width, offsets.dtype, offsets.device).view(height, width, 1, 1, 2)
    return torch.add(tokens + grid, offsets, alpha=scale)


def weighted_samples(value: Tensor, positions: Tensor, weights: Tensor) -> Tensor:
    """Sum over k of weights[..., k] * value sampled bilinearly at positions[..., k], zero outside the map.

    Args:
        value: (B, H, W, C).
        positions: (B, H, W, groups, K, 2), (x, y) in tokens, float32 or float64; token (0, 0) is centred on (0, 0).
        weights: (B, H, W, groups, K).

    Returns:
        (B, H, W, C) in the dtype of `value`. NaN positions or weights give NaN, and nothing outside the map is read.
    """
    can_gather = is_eager_on_cpu(value) and not needs_gradient(value, positions, weights)
    sums = gathered_sums if can_gather and weights.shape[:-1].numel() < _ROWS else grid_sums
    # values of half precision are sampled at their exact positions: in the dtype that the positions have
    return sums(value.to(positions.dtype), positions, weights.to(positions.dtype)).to(value.dtype)


def grid_sums(value: Tensor, positions: Tensor, weights: Tensor) -> Tensor:
    """`weighted_samples` by grid_sample and a contraction over the points."""
    batch, height, width, dim = value.shape
    groups, points = weights.shape[3:]
    # grid_sample counts positions from -1 to 1 over the whole map, edges included: (2 p + 1) / size - 1
    step, start = _grid_units(height, width, positions.dtype, positions.device)
    grid = torch.addcmul(start, positions, step)
    grid = grid.permute(0, 3, 1, 2, 4, 5)  # B, groups, H, W, K, 2
    grid = grid.reshape(batch * groups, height * width, points, 2)
    maps = value.view(batch, height, width, groups, -1).permute(0, 3, 4, 1, 2)  # B, groups, d, H, W
    samples = F.grid_sample(maps.flatten(0, 1), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    weights = weights.permute(0, 3, 1, 2, 4).reshape(batch * groups, height * width, points)
    y = torch.einsum("bdnk,bnk->bnd", samples, weights).view(batch, groups, height, width, -1)
    return y.permute(0, 2, 3, 1, 4).reshape(batch, height, width, dim)


@cached_table
def _grid_units(height: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(2, 2): a token's size, and where token 0 is, each in (x, y). Filled on the device, never copied to it."""
    sizes = [torch.full((), size, dtype=dtype, device=device) for size in (width, height)]
    step = 2 / torch.stack(sizes)
    return torch.stack((step, step / 2 - 1))


def token_positions(height: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(H, W, 2): the position of every token, (x, y)."""
    rows, columns = torch.arange(height, dtype=dtype, device=device), torch.arange(width, dtype=dtype, device=device)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack((x, y), dim=-1)


def point_samples(value: Tensor, points: Tensor) -> Tensor:
    """A map sampled bilinearly at a few points of each group of channels, zero outside the map.

    Args:
        value: (B, H, W, C).
        points: (B, groups, P, 2), (x, y) from -1, the first token, to 1, the last one; float32 or float64.

    Returns:
        (B, P, C) in the dtype of `value`.
    """
    batch, height, width, dim = value.shape
    groups = points.shape[1]
    maps = value.view(batch, height, width, groups, -1).permute(0, 3, 4, 1, 2).flatten(0, 1).to(points.dtype)
    samples = _grid_samples(maps, points.flatten(0, 1)[:, None])
    return samples.view(batch, dim, -1).transpose(1, 2).to(value.dtype)


def displacement_samples(table: Tensor, points: Tensor, height: int, width: int) -> Tensor:
    """A table sampled bilinearly at the displacement from every point to every token of a map.

    Args:
        table: (heads, 2 H - 1, 2 W - 1), its middle being no displacement, for maps of H x W.
        points: (B, groups, P, 2), as for `point_samples`; a group has heads / groups heads.
        height, width: of the map, which may be another one.

    Returns:
        (B, heads, height * width, P) in the dtype of the points.
    """
    batch, groups = points.shape[:2]
    last = _last_token(height, width, points.dtype, points.device)
    # a row or column that is the only one lies in the middle
    tokens = (token_positions(height, width, points.dtype, points.device).flatten(0, 1) - last / 2) / last.clamp(min=1)
    grid = (tokens[:, None] - points[:, :, None] / 2).flatten(0, 1)  # B * groups, N, P, 2
    tables = table.to(points.dtype).view(groups, len(table) // groups, *table.shape[1:])
    tables = tables.expand(batch, *tables.shape).flatten(0, 1)  # B * groups, heads / groups, 2 H - 1, 2 W - 1
    samples = _grid_samples(tables, grid)
    return samples.view(batch, len(table), *grid.shape[1:3])


def _grid_samples(maps: Tensor, grid: Tensor) -> Tensor:
    """`grid_sample` at (x, y) from -1, the first token, to 1, the last one, zero outside the map.

    PyTorch's own kernel takes positions from edge to edge; for those from token to token it would call cuDNN's, whose
    backward pass is not deterministic either and which has no form without values.
    """
    height, width = maps.shape[2:]
    last = _last_token(height, width, grid.dtype, grid.device)
    return F.grid_sample(maps, grid * (last / (last + 1)), padding_mode="zeros", align_corners=False)


@cached_table
def _last_token(height: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(2,): the position (x, y) of the last token. Filled on the device, never copied to it."""
    return torch.stack([torch.full((), size - 1, dtype=dtype, device=device) for size in (width, height)])


def gathered_sums(value: Tensor, positions: Tensor, weights: Tensor) -> Tensor:
    """`weighted_samples` as one weighted gather: rows of d channels, 4 K of them for each position and group."""
    batch, height, width, dim = value.shape
    groups, points = weights.shape[3:]
    corner = positions.floor()
    fx, fy = (positions - corner).unbind(-1)
    # clamped before they become integers too: what a huge or NaN float turns into is undefined
    x0, y0 = corner.clamp(-2, max(height, width)).int().unbind(-1)  # B, H, W, groups, K
    row = torch.arange(batch, dtype=torch.int32).view(-1, 1, 1, 1, 1) * (height * width * groups)
    row = row + torch.arange(groups, dtype=torch.int32).view(-1, 1)  # of each image's first token in each group
    x = [_neighbour(x0 + i, width, groups, (fx if i else 1 - fx) * weights) for i in (0, 1)]
    y = [_neighbour(y0 + i, height, width * groups, fy if i else 1 - fy) for i in (0, 1)]
    index = torch.empty((*weights.shape[:-1], 4, points), dtype=torch.int32)
    factor = torch.empty(index.shape, dtype=value.dtype)
    for i, (y_step, y_factor) in enumerate(y):
        below = y_step + row
        for j, (x_step, x_factor) in enumerate(x):
            torch.add(below, x_step, out=index[..., 2 * i + j, :])
            torch.mul(y_factor, x_factor, out=factor[..., 2 * i + j, :])
    table = value.reshape(-1, dim // groups)
    sums = F.embedding_bag(
        index.flatten(-2).flatten(0, -2), table, per_sample_weights=factor.view(-1, 4 * points), mode="sum"
    )
    return sums.view(batch, height, width, dim)


def _neighbour(position: Tensor, size: int, stride: int, factor: Tensor) -> tuple[Tensor, Tensor]:
    """Rows to step for a coordinate, and its factor: zero outside the map, where the step is that of the edge."""
    inside = (position >= 0) & (position < size)
    return position.clamp(0, size - 1) * stride, factor * inside


def softmax_of_few(logits: Tensor) -> Tensor:
    """Softmax over a short last dimension.

    On a CPU the nine logits of a group are padded to sixteen: a vector's length, which the kernel is fast for.
    """
    few = logits.shape[-1]
    if logits.device.type != "cpu" or few > 16:
        return logits.softmax(dim=-1)
    return F.pad(logits, (0, 16 - few), value=-torch.inf).softmax(dim=-1)[..., :few]
