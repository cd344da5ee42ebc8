"""Where the columns of an affinity lie: value tokens on the input map, tokens that padding added, reduced tokens."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True, kw_only=True)
class Columns:
    """N_in value tokens, on a map of `height` x `width` input tokens; token (0, 0) is centred on (0, 0).

    Attributes:
        height, width: of the input map.
        grid: (rows, columns) of the value tokens: the first rows * columns of them are this grid, row by row.
        y, x: (N_in,) float: where each value token is centred, in input tokens; NaN for a token without a position.
        padding: (N_in,) bool: tokens that stand for no input (a window's padding, what a sample finds off the map).
        boxes: (N_in, 4) long: top, left, bottom, right (half open) of the input tokens a value token is made from; an
            empty box for padding.
    """

    height: int
    width: int
    grid: tuple[int, int]
    y: Tensor
    x: Tensor
    padding: Tensor
    boxes: Tensor

    def __len__(self) -> int:
        return len(self.padding)


def map_columns(
    height: int, width: int, *, padded: tuple[int, int] | None = None, device: torch.device | None = None
) -> Columns:
    """One column for every token of the map, row by row.

    Args:
        height, width: of the map.
        padded: (rows, columns) of the map with the padding below and right that is attended to; None for none.
    """
    rows, columns = padded or (height, width)
    y, x = _grid(rows, columns, device)
    padding = (y >= height) | (x >= width)
    boxes = torch.stack((y, x, y + 1, x + 1), dim=-1)
    boxes = torch.where(padding[:, None], torch.zeros_like(boxes), boxes)
    return Columns(
        height=height, width=width, grid=(rows, columns), y=y.float(), x=x.float(), padding=padding, boxes=boxes
    )


def reduced_columns(
    height: int, width: int, *, grid: tuple[int, int], stride: int, device: torch.device | None = None
) -> Columns:
    """One column for each `stride` x `stride` patch of the map: grid[0] x grid[1] patches from the top left corner."""
    y, x = (stride * position for position in _grid(*grid, device))
    boxes = torch.stack((y, x, (y + stride).clamp(max=height), (x + stride).clamp(max=width)), dim=-1)
    centre = (stride - 1) / 2
    padding = torch.zeros_like(y, dtype=torch.bool)
    return Columns(height=height, width=width, grid=grid, y=y + centre, x=x + centre, padding=padding, boxes=boxes)


def with_outside(columns: Columns) -> Columns:
    """`columns` and, last, one padding token without a position: what a sample off the map finds (a value of zero)."""

    def longer(values: Tensor, last: float) -> Tensor:
        return torch.cat((values, values.new_full((1, *values.shape[1:]), last)))

    return dataclasses.replace(
        columns,
        y=longer(columns.y, torch.nan),
        x=longer(columns.x, torch.nan),
        padding=longer(columns.padding, True),
        boxes=longer(columns.boxes, 0),
    )


def with_cells(columns: Columns, cells: tuple[int, int]) -> Columns:
    """`columns` and, after them, one column for each cell that adaptive pooling makes of the map, row by row."""
    y, x = _grid(*cells, columns.y.device)
    edges = []
    for index, size, count in ((y, columns.height, cells[0]), (x, columns.width, cells[1])):
        edges.append((index * size // count, ((index + 1) * size + count - 1) // count))
    (top, bottom), (left, right) = edges
    return dataclasses.replace(
        columns,
        y=torch.cat((columns.y, (top + bottom - 1) / 2)),
        x=torch.cat((columns.x, (left + right - 1) / 2)),
        padding=torch.cat((columns.padding, torch.zeros_like(y, dtype=torch.bool))),
        boxes=torch.cat((columns.boxes, torch.stack((top, left, bottom, right), dim=-1))),
    )


def _grid(rows: int, columns: int, device: torch.device | None) -> tuple[Tensor, Tensor]:
    """(y, x) of every position of a grid, row by row: two of (rows * columns,) long."""
    position = torch.arange(rows * columns, device=device)
    return position // columns, position % columns
