"""Chosen rows of affinities, as arrays and as a file that figures are drawn from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stmbench.analyses.affinity.layers import Layer
from stmbench.mixers.affinity import Affinity, Columns

MEAN = -1  # in place of a head's number: the mean over heads of the shares of absolute weight


def kept_rows(affinity: Affinity, positions: Tensor, heads: Sequence[int], *, mean: bool) -> Tensor:
    """(P,) long -> (B or 1, kept, P, N_in) float32: the mean over heads first where it is wanted, then single heads.

    A single head's weights have their sign; the mean is of |a| / sum |a|, or opposite signs would cancel.
    """
    rows = affinity.rows(positions)
    rows = (rows[:1] if affinity.dynamic is None else rows).float()  # images share a static affinity
    kept = [rows[:, list(heads)]]
    if mean:
        shares = rows.abs() / rows.abs().sum(dim=3, keepdim=True).clamp(min=1e-30)
        kept.insert(0, shares.mean(dim=1, keepdim=True))
    return torch.cat(kept, dim=1)


@dataclasses.dataclass(kw_only=True)
class LayerMaps:
    """The kept rows of one layer, part by part ('whole', 'static', 'dynamic', 'jacobian'), as images come in."""

    layer: Layer
    positions: tuple[int, ...]
    heads: tuple[int, ...]  # MEAN among them where it is kept
    columns: Columns
    per_image: bool
    parts: dict[str, list[Tensor]] = dataclasses.field(default_factory=dict)
    images: dict[str, int] = dataclasses.field(default_factory=dict)

    def add(self, part: str, rows: Tensor, *, shared: bool = False) -> None:
        """Take in the kept rows of a batch, (B, kept, P, N_in); averaged maps keep their sum alone.

        With `shared`, rows (1, ...) that are the same for every batch: they are taken in once.
        """
        kept = self.parts.setdefault(part, [])
        if shared and kept:
            return
        if self.per_image:
            kept.append(rows.cpu())
            return
        total = rows.double().sum(dim=0, keepdim=True).cpu()
        self.parts[part] = [kept[0] + total if kept else total]
        self.images[part] = self.images.get(part, 0) + len(rows)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What the file holds of this layer."""
        name, columns = f"layer{self.layer.number}", self.columns
        arrays: dict[str, NDArray[Any]] = {
            f"{name}.{part}": (torch.cat(kept) if self.per_image else kept[0] / self.images[part]).float().numpy()
            for part, kept in self.parts.items()
        }
        arrays[f"{name}.place"] = np.asarray((self.layer.stage, self.layer.block))
        arrays[f"{name}.positions"] = np.asarray(self.positions)
        arrays[f"{name}.heads"] = np.asarray(self.heads)
        arrays[f"{name}.map"] = np.asarray((columns.height, columns.width))
        arrays[f"{name}.output"] = np.asarray((self.layer.height, self.layer.width))
        arrays[f"{name}.grid"] = np.asarray(columns.grid)
        arrays[f"{name}.padding"] = columns.padding.cpu().numpy()
        arrays[f"{name}.boxes"] = columns.boxes.cpu().numpy()
        return arrays


def pictures(pixels: Tensor) -> NDArray[np.uint8]:
    """(B, 3, H, W) in [0, 1] -> (B, H, W, 3)."""
    return (pixels.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
