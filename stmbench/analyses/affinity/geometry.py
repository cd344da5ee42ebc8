"""Where value tokens lie from a query: distance, offset, at the same place, within a radius; and which are padding."""

from __future__ import annotations

import dataclasses
from typing import Final

import torch
from torch import Tensor

from stmbench.mixers.affinity import Columns

FIXED: Final = ("real", "padding", "distance", "dy", "dx", "own")  # then one for each radius


@dataclasses.dataclass(frozen=True, kw_only=True)
class Geometry:
    """The map that the queries lie on, beside that of the columns.

    Attributes:
        columns: of the affinity.
        height, width: of the output map.
        pixels: (y, x) input pixels for each token of the columns' input map.
        radii: in tokens.
    """

    columns: Columns
    height: int
    width: int
    pixels: tuple[float, float]
    radii: tuple[float, ...] = ()

    def features(self, queries: Tensor, columns: Tensor) -> Tensor:
        """What is summed over a row, for each of its entries.

        A token that was made from a patch counts as its patch does: each feature is the mean over the tokens of the
        patch. Padding has no place, and zeros in all features but its own.

        Args:
            queries: (Q,) long. columns: (..., Q, K) long.

        Returns:
            (..., Q, K, len(FIXED) + len(radii)): real, padding, distance (px), dy, dx (px, from the query to the
            column), own (1 at the query's place), and 1 within each radius.
        """
        boxes = self.columns.boxes.to(columns.device)[columns]  # ..., Q, K, 4: top, left, bottom, right
        side = int((boxes[..., 2:] - boxes[..., :2]).max()) if boxes.numel() else 1
        step_y, step_x = self.columns.height / self.height, self.columns.width / self.width
        y = (queries // self.width + 0.5) * step_y - 0.5  # in tokens of the columns' map
        x = (queries % self.width + 0.5) * step_x - 0.5
        total = torch.zeros(1)
        for number in range(max(side, 1) ** 2):
            token_y, token_x = boxes[..., 0] + number // side, boxes[..., 1] + number % side
            there = (token_y < boxes[..., 2]) & (token_x < boxes[..., 3])
            dy, dx = token_y - y[:, None], token_x - x[:, None]
            total = total.to(dy) + self._of_token(dy, dx, (step_y / 2, step_x / 2)) * there[..., None]
        area = ((boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])).clamp(min=1)
        padding = self.columns.padding.to(columns.device)[columns]
        marks = torch.stack((~padding, padding), dim=-1).to(total.dtype)
        return torch.cat((marks, total / area[..., None]), dim=-1)

    def _of_token(self, dy: Tensor, dx: Tensor, half: tuple[float, float]) -> Tensor:
        tokens = torch.hypot(dy, dx)
        y, x = dy * self.pixels[0], dx * self.pixels[1]
        own = (dy.abs() < half[0]) & (dx.abs() < half[1])
        # a distance of exactly r is within r, whatever rounding makes of it
        within = [tokens <= radius + 1e-4 for radius in self.radii]
        return torch.stack([torch.hypot(y, x), y, x, own.to(y), *(inside.to(y) for inside in within)], dim=-1)
