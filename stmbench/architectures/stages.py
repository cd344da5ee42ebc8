"""A stage of a host: blocks of one width, with a position table before them and a norm after them."""

from __future__ import annotations

import torch.nn.functional as F
from timm.models import checkpoint_seq
from torch import Tensor, nn


class Stage(nn.Module):
    """Blocks of one width, and the norm after them: (B, H, W, C) -> (B, H, W, C)."""

    def __init__(self, blocks: list[nn.Module], position: Tensor | None, norm: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.norm = norm
        self.position = None if position is None else nn.Parameter(position)  # (1, H, W, C)
        self.grad_checkpointing = False

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        if self.position is not None:  # it stays in the residual
            x = x + resized_position(self.position, x.shape[1], x.shape[2])
        if self.grad_checkpointing and self.training:
            x = checkpoint_seq(self.blocks, x, use_reentrant=False)
        else:
            for block in self.blocks:
                x = block(x)
        y: Tensor = self.norm(x)
        return y


class ChannelsLastBatchNorm(nn.BatchNorm2d):
    """BatchNorm of a map (B, H, W, C) -> (B, H, W, C); the permuted view is a channels_last tensor: no copy."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        y: Tensor = super().forward(x.permute(0, 3, 1, 2))
        return y.permute(0, 2, 3, 1)


def resized_position(table: Tensor, height: int, width: int) -> Tensor:
    """A position table (1, H, W, C) at another size, bilinear with aligned corners, as the authors resize theirs."""
    if table.shape[1:3] == (height, width):
        return table
    resized = F.interpolate(table.permute(0, 3, 1, 2), (height, width), mode="bilinear", align_corners=True)
    return resized.permute(0, 2, 3, 1)
