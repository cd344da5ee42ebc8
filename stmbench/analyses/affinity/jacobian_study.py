"""The study of Jacobian affinities: of mixers or of whole blocks, at chosen layers and positions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from stmbench.analyses.affinity.config import AffinityConfig
from stmbench.analyses.affinity.jacobian import block_path, influence
from stmbench.analyses.affinity.layers import Layer
from stmbench.analyses.affinity.maps import MEAN, LayerMaps
from stmbench.analyses.affinity.numbers import metric_levels, row_numbers
from stmbench.analyses.affinity.row_statistics import entry_sums
from stmbench.analyses.affinity.study import Finding, Study
from stmbench.analyses.affinity.tabulate import items
from stmbench.analyses.subjects import Subject
from stmbench.mixers.affinity import has_affinity, map_columns

TINY = 1e-30


class Jacobians(Study):
    """Norms of the Jacobian's blocks, as maps, and the numbers of each position."""

    task, words, definition = "jacobian", "Jacobians", "affinity.jacobian.v1"

    def __init__(self, subject: Subject, config: AffinityConfig, *, seed: int) -> None:
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
