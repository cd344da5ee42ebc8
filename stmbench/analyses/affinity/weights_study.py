"""Studies of the affinities that mixers offer: the numbers of every layer, and chosen rows as maps."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from stmbench.analyses.affinity.config import AffinityConfig
from stmbench.analyses.affinity.layers import Layer, chosen_heads
from stmbench.analyses.affinity.maps import MEAN, LayerMaps, kept_rows
from stmbench.analyses.affinity.numbers import PARTS_ONLY, layer_numbers, metric_levels
from stmbench.analyses.affinity.study import Finding, Study, parts_of
from stmbench.analyses.affinity.tabulate import coefficient_items, items
from stmbench.analyses.subjects import Subject
from stmbench.mixers.affinity import Affinity, HasAffinity


class WeightsStudy(Study):
    """A study of mixers that have an affinity; the others are noted."""

    def look(self, layer: Layer, module: nn.Module, x: Tensor) -> None:
        """Take in a mixer and its input (B, H, W, C)."""
        if isinstance(module, HasAffinity):
            self.look_at(layer, module.affinity(x), x)
        elif layer not in self.without:
            self.without.append(layer)

    @abc.abstractmethod
    def look_at(self, layer: Layer, affinity: Affinity, x: Tensor) -> None:
        """Take in an affinity."""


class Numbers(WeightsStudy):
    """Of every layer, part and head: what docs/definitions/affinity.md defines."""

    task, words = "numbers", "affinities"

    def __init__(self, subject: Subject, config: AffinityConfig, *, seed: int) -> None:
        super().__init__(subject, config, seed=seed)
        self._found: dict[tuple[Layer, str], list[Tensor]] = {}
        self._coefficients: dict[Layer, Mapping[str, Tensor]] = {}

    def choose(self, layers: list[Layer]) -> list[Layer]:
        """All of them."""
        return layers

    def look_at(self, layer: Layer, affinity: Affinity, x: Tensor) -> None:
        """Take in an affinity: the numbers of its parts, and how these compare."""
        if affinity.dynamic is None and layer in self._coefficients:
            return  # what is static is the same in every batch
        geometry = self.geometry(affinity.columns, x.shape[1], x.shape[2])
        for part, values in layer_numbers(affinity, geometry).items():
            pieces = self._found.setdefault((layer, part), [])
            if not (part == "static" and pieces):
                pieces.append(values[: 1 if part == "static" else None].cpu())
        self._coefficients[layer] = affinity.coefficients

    def findings(self) -> Iterator[Finding]:
        """Layer by layer: the mean over heads, then each head."""
        every = metric_levels(self.config.radii)
        for (layer, part), pieces in self._found.items():
            metrics = [(name, None) for name in PARTS_ONLY] if part == "parts" else every
            for item in items(torch.cat(pieces), metrics, seed=self.seed):
                yield Finding(layer=layer, item=item, condition="whole" if part == "parts" else part)
        for layer, coefficients in self._coefficients.items():
            for item in coefficient_items(coefficients):
                yield Finding(layer=layer, item=item, condition="whole")


class Maps(WeightsStudy):
    """The rows of chosen positions, layers and heads."""

    task, words, metric = "maps", "affinity maps", "affinity_map"

    def look_at(self, layer: Layer, affinity: Affinity, x: Tensor) -> None:
        """Take in an affinity: the rows of the chosen positions, part by part."""
        heads = chosen_heads(self.config.heads, affinity.shape[1], layer)
        mean = "mean" in self.config.heads
        if layer not in self.maps:
            self.maps[layer] = LayerMaps(
                layer=layer,
                positions=self.positions(layer),
                heads=(*([MEAN] if mean else []), *heads),
                columns=affinity.columns,
                per_image=self.config.per_image,
            )
        maps = self.maps[layer]
        positions = torch.tensor(maps.positions, device=x.device)
        for part, piece in parts_of(affinity).items():
            maps.add(part, kept_rows(piece, positions, heads, mean=mean), shared=piece.dynamic is None)
