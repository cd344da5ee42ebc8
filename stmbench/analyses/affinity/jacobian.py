"""The Jacobian affinity of a mixer or of the block around it, on whatever layout it takes its map in."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from stmbench.analyses.affinity.layers import Layer
from stmbench.analyses.affinity.maps import MEAN, LayerMaps, items
from stmbench.analyses.affinity.options import AffinityConfig
from stmbench.analyses.affinity.row_statistics import entry_sums, metric_levels, row_numbers
from stmbench.analyses.affinity.study import Finding, Study
from stmbench.analyses.loaded_model import LoadedModel
from stmbench.errors import UnitError
from stmbench.mixers.affinity import has_affinity, jacobian_affinity, map_columns

LARGEST_STEP = 4  # by which a block may make its map smaller


def block_path(layer: Layer) -> str:
    """The dotted path of what holds the mixer: its norm, residual and MLP."""
    return layer.path.rpartition(".")[0]


def influence(module: nn.Module, x: Tensor, positions: Tensor, layer: Layer) -> tuple[Tensor, tuple[int, int]]:
    """The Jacobian affinity of a module, and the (H, W) of its input's map.

    Args:
        x: what goes into it: (B, H, W, C), (B, C, H, W), or tokens (B, prefix + H * W, C); the prefix is held fixed.
        positions: (P,) long, on the output's map, which is the layer's.

    Returns:
        (B, P, H * W).

    Raises:
        UnitError: an input that is no map.
    """
    if x.ndim == 3:
        size = layer.height, layer.width
        if x.shape[1] != layer.prefix + math.prod(size):
            raise UnitError(f"{x.shape[1]} tokens are no map of {size[0]} x {size[1]} in layer {layer.number}")
        return torch.cat([_of_tokens(module, tokens[None], positions, layer) for tokens in x]), size
    if x.ndim != 4:
        raise UnitError(f"an input of shape {tuple(x.shape)} is no map in layer {layer.number}")
    if _is_map(x.shape[1], x.shape[2], layer):
        return jacobian_affinity(module, x, positions), (x.shape[1], x.shape[2])
    maps = x.permute(0, 2, 3, 1)
    found = jacobian_affinity(lambda maps: module(maps.permute(0, 3, 1, 2)).permute(0, 2, 3, 1), maps, positions)
    return found, (maps.shape[1], maps.shape[2])


def _of_tokens(module: nn.Module, tokens: Tensor, positions: Tensor, layer: Layer) -> Tensor:
    """(1, prefix + H * W, C) -> (1, P, H * W)."""
    size = layer.height, layer.width
    before, own = tokens[:, : layer.prefix], tokens[:, layer.prefix :]

    def function(maps: Tensor) -> Tensor:
        every = torch.cat([before.expand(len(maps), -1, -1), maps.flatten(1, 2)], dim=1)
        return _as_map(module(every)[:, layer.prefix :], size)

    return jacobian_affinity(function, _as_map(own, size), positions)


def _is_map(height: int, width: int, layer: Layer) -> bool:
    """Whether these are the sides of the layer's map, or of a larger one that the module makes smaller."""
    return any(
        -(-height // step) == layer.height and -(-width // step) == layer.width for step in range(1, LARGEST_STEP + 1)
    )


def _as_map(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, H * W, C) -> (B, H, W, C)."""
    return tokens.reshape(len(tokens), *size, tokens.shape[2])


TINY = 1e-30


class Jacobians(Study):
    """Norms of the Jacobian's blocks, as maps, and the numbers of each position."""

    task, words, definition = "jacobian", "Jacobians", "affinity.jacobian.v1"

    def __init__(self, subject: LoadedModel, config: AffinityConfig, *, seed: int) -> None:
        if not config.is_jacobian:  # auto: in place of the affinity that the mixer does not offer
            config = dataclasses.replace(config, jacobian="mixer", heads=("mean",))
        super().__init__(subject, config, seed=seed)
        self._found: dict[Layer, list[Tensor]] = {}

    def path(self, layer: Layer) -> str:
        """The mixer's, or the block's."""
        return block_path(layer) if self.config.jacobian == "block" else layer.path

    def look(self, layer: Layer, module: nn.Module, x: Tensor) -> None:
        """Take in a module and its input."""
        positions = torch.tensor(self.positions(layer), device=x.device)
        norms, (height, width) = influence(module, x, positions, layer)
        columns = map_columns(height, width, device=x.device)
        geometry = self.geometry(columns, layer.height, layer.width)
        rows = norms[:, None].float()  # B, 1, P, N: one head
        every = torch.arange(height * width, device=x.device).expand(len(positions), -1)
        sums = entry_sums(geometry.features(positions, every), rows)
        self._found.setdefault(layer, []).append(row_numbers(sums)[:, 0].cpu())  # B, P, metrics
        if layer not in self.maps:
            self.maps[layer] = LayerMaps(
                layer=layer,
                positions=self.positions(layer),
                heads=(MEAN,),
                columns=columns,
                per_image=self.config.per_image,
            )
        self.maps[layer].add("jacobian", rows / rows.sum(dim=3, keepdim=True).clamp(min=TINY))

    def findings(self) -> Iterator[Finding]:
        """Layer by layer, position by position."""
        condition = f"jacobian of {self.config.jacobian}"
        for layer, pieces in self._found.items():
            values = torch.cat(pieces)  # images, P, metrics
            for number, position in enumerate(self.positions(layer)):
                of_position = values[:, number, None]  # images, one head, metrics
                for item in items(of_position, metric_levels(self.config.radii), seed=self.seed):
                    if item.head is None:
                        yield Finding(layer=layer, item=item, condition=condition, position=position)


class MissingAffinities(Jacobians):
    """Of those chosen layers alone whose mixer offers no affinity, in a model whose other mixers do."""

    def choose(self, layers: list[Layer]) -> list[Layer]:
        """The chosen ones without an affinity."""
        model = self.subject.model
        return [layer for layer in super().choose(layers) if not has_affinity(model.get_submodule(layer.path))]
