"""What is taken of the layers of a model in a forward pass: the affinities that mixers offer, or Jacobians.

`Numbers` and `Maps` are of mixers' affinities. `Jacobians` are of any mixer or of the block around it, on whatever
layout it takes its map in.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from stmbench.analyses.affinity.layers import Layer, chosen_heads
from stmbench.analyses.affinity.maps import MEAN, LayerMaps, kept_rows
from stmbench.analyses.affinity.options import AffinityConfig
from stmbench.analyses.affinity.row_statistics import (
    PARTS_ONLY,
    coefficient_items,
    entry_sums,
    items,
    layer_numbers,
    metric_levels,
    row_numbers,
)
from stmbench.analyses.affinity.study import Finding, Study, parts_of
from stmbench.analyses.feature_layouts import first_tensor
from stmbench.analyses.loaded_model import LoadedModel
from stmbench.architectures.module_copies import feature_source
from stmbench.errors import UnitError
from stmbench.mixers.affinity import Affinity, HasAffinity, has_affinity, jacobian_affinity, map_columns

Look = Callable[[Layer, nn.Module, Tensor], None]  # the layer, its module, what goes into it


class _SeenAll(Exception):  # noqa: N818 - not an error
    """Ends a forward pass after the last module that is looked at."""


class CalledModule(nn.Module):
    """A module as a function of the tensor that it was called with, which may come under several arguments.

    The other arguments stay what they were; of several outputs the first counts.
    """

    def __init__(self, module: nn.Module, x: Tensor, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        super().__init__()
        self.module, self._x, self._arguments, self._named = module, x, arguments, named

    def forward(self, x: Tensor) -> Tensor:
        """What the module makes of `x` in place of the tensor that it was called with."""
        arguments = [x if argument is self._x else argument for argument in self._arguments]
        named = {key: x if argument is self._x else argument for key, argument in self._named.items()}
        output = first_tensor(self.module(*arguments, **named))
        if output is None:
            raise UnitError(f"expected a tensor from {type(self.module).__name__}, got none; name another module")
        return output


def visit(loaded: LoadedModel, layers: Sequence[tuple[Layer, str]], pixels: Tensor, look: Look) -> None:
    """Run the model on a batch, and call `look` at each module when the pass comes to it.

    Args:
        layers: with the dotted path of the module that is looked at (the mixer, or what is around it).
        pixels: (B, 3, H, W) in [0, 1].
        look: gets the module's input without a graph; gradients are off, and may be switched on. In place of a given
            model's module it gets one of that input alone, which passes on whatever else the module was called with.
    """
    is_given = feature_source(loaded.model) is not None
    left = {layer.number for layer, _ in layers}
    handles = []

    def hook(layer: Layer) -> Callable[..., None]:
        def stop(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
            if layer.number not in left:  # what looks at a module may run it again
                return
            left.discard(layer.number)
            x = first_tensor((inputs, named))
            assert x is not None, "seen when the layers were listed"
            plain = not is_given or has_affinity(module)
            look(layer, module if plain else CalledModule(module, x, inputs, named), x)
            if not left:
                raise _SeenAll

        return stop

    try:
        for layer, path in layers:
            module = loaded.model.get_submodule(path)
            handles.append(module.register_forward_pre_hook(hook(layer), with_kwargs=True))
        with torch.no_grad():
            loaded.model(loaded.input(pixels))
    except _SeenAll:
        pass
    finally:
        for handle in handles:
            handle.remove()


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

    def __init__(self, loaded: LoadedModel, config: AffinityConfig, *, seed: int) -> None:
        super().__init__(loaded, config, seed=seed)
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
    norms = jacobian_affinity(lambda maps: module(maps.permute(0, 3, 1, 2)).permute(0, 2, 3, 1), maps, positions)
    return norms, (maps.shape[1], maps.shape[2])


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

    def __init__(self, loaded: LoadedModel, config: AffinityConfig, *, seed: int) -> None:
        if not config.is_jacobian:  # auto: in place of the affinity that the mixer does not offer
            config = dataclasses.replace(config, jacobian="mixer", heads=("mean",))
        super().__init__(loaded, config, seed=seed)
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
        model = self.loaded.model
        return [layer for layer in super().choose(layers) if not has_affinity(model.get_submodule(layer.path))]
