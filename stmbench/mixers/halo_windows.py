"""Where the keys of enlarged windows lie: offsets from the queries, which are outside the map, places on it."""

from __future__ import annotations

import torch
from torch import Tensor

from stmbench.mixers.cached_tables import cached_table


@cached_table
def offset_rows(window: int, reach: int, device: torch.device) -> Tensor:
    """(M, reach): the table's row for query r and key k of one axis."""
    query, key = torch.arange(window, device=device), torch.arange(reach, device=device)
    return key[None, :] - query[:, None] + reach - 1


@cached_table
def outside(
    rows: int, columns: int, window: int, before: int, reach: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Very negative where a key's row [0], or its column [1], is outside the map: (2, 1, windows, 1, 1, 1, reach)."""
    masks = []
    for size in (rows, columns):
        start = torch.arange(0, size, window, device=device)[:, None] - before
        place = start + torch.arange(reach, device=device)  # windows along this axis, reach
        mask = torch.zeros(place.shape, dtype=dtype, device=device)
        # a quarter of the lowest number: the sum of two stays finite, and exp of it is exactly zero
        masks.append(mask.masked_fill((place < 0) | (place >= size), torch.finfo(dtype).min / 4))
    down, across = (len(mask) for mask in masks)
    vertical, horizontal = masks[0][:, None].expand(-1, across, -1), masks[1][None].expand(down, -1, -1)
    return torch.stack((vertical, horizontal)).view(2, 1, down * across, 1, 1, 1, reach)


def key_places(rows: int, columns: int, window: int, before: int, reach: int, device: torch.device) -> Tensor:
    """(windows, reach^2): the place on the padded map of every key of every window, -1 outside."""
    step = torch.arange(reach, device=device) - before
    y, x = (torch.arange(0, size, window, device=device)[:, None] + step for size in (rows, columns))  # windows, reach
    y, x = y[:, None, :, None], x[None, :, None, :]
    places = torch.where((y >= 0) & (y < rows) & (x >= 0) & (x < columns), y * columns + x, -1)
    return places.flatten(2).flatten(0, 1)
