"""The layers of a model: its mixers in order, with the maps they see; and the choice among them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from stmbench.analyses.affinity.config import AffinityConfig
from stmbench.analyses.models import meta_model
from stmbench.architectures.catalog import ModelName, create_model
from stmbench.data.preprocessing import Preprocessing
from stmbench.errors import InputError
from stmbench.mixers.affinity import HasAffinity, has_affinity


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layer:
    """One mixer: its number (from 1), its place (from 0), its path in the model, and the map it is made for."""

    number: int
    stage: int
    block: int
    path: str
    height: int
    width: int


def layers_of(model: nn.Module, name: str, size: tuple[int, int]) -> list[Layer]:
    """Every mixer of a model, in order, with its map for an image of `size` (H, W).

    Raises:
        InputError: a model whose mixers are not known (timm's).
    """
    if not hasattr(model, "mixers"):
        raise InputError(
            "a model of which the mixers are known", name, "choose one that `stmbench list models` shows, not timm's"
        )
    known: Any = model
    maps = known.config.maps(*size)
    return [
        Layer(
            number=number,
            stage=site.stage,
            block=site.block,
            path=path,
            height=maps[site.stage][0],
            width=maps[site.stage][1],
        )
        for number, (site, path, _) in enumerate(known.mixers(), start=1)
    ]


def chosen_layers(layers: Sequence[Layer], words: Sequence[str], name: str) -> list[Layer]:
    """The layers that `AffinityConfig.layers` names, in the model's order. Raises InputError for one it has not."""
    found = [layer for layer in layers if any(_is_named(layer, word, len(layers)) for word in words)]
    for word in words:
        if not any(_is_named(layer, word, len(layers)) for layer in found):
            ends = [f"{layer.stage + 1}.{layer.block + 1}" for layer in (layers[0], layers[-1])]
            expected = f"layers 1 to {len(layers)}" if "." not in word else f"layers {ends[0]} to {ends[1]}"
            raise InputError(f"{expected} of {name}", word, "change --layers")
    return found


def _is_named(layer: Layer, word: str, count: int) -> bool:
    if "." in word:
        return word.split(".") == [str(layer.stage + 1), str(layer.block + 1)]
    return word == "all" or layer.number == ({"first": 1, "last": count}.get(word) or int(word))


def check_choice(name: str, config: AffinityConfig, resolution: tuple[int, int] | None) -> bool:
    """Find out before any work whether a model has what was asked for, without allocating it where that can be done.

    Returns:
        Whether any of its mixers has an affinity.

    Raises:
        InputError: there is no such layer, position or head.
    """
    options = dict(ModelName.parse(name).options)
    model = meta_model(name, **options)
    layers = layers_of(model, name, Preprocessing.of(model, resolution).size)
    chosen = chosen_layers(layers, config.layers, name)
    for layer in chosen:
        check_positions(config.positions_on(layer.height, layer.width), layer, name)
    if set(config.heads) - {"mean", "all"}:
        _check_heads(create_model(name, **options), chosen, config)
    return any(has_affinity(model.get_submodule(layer.path)) for layer in layers)


def _check_heads(model: nn.Module, layers: Sequence[Layer], config: AffinityConfig) -> None:
    """Raises InputError for a head that a layer has not. How many there are is asked of the affinity of a zero map."""
    known: Any = model
    modules = {path: (site.dim, module) for site, path, module in known.mixers()}
    for layer in layers:
        dim, module = modules[layer.path]
        if isinstance(module, HasAffinity):
            with torch.no_grad():
                heads = module.affinity(torch.zeros(1, layer.height, layer.width, dim)).shape[1]
            chosen_heads(config.heads, heads, layer)


def check_positions(positions: Sequence[int], layer: Layer, name: str) -> None:
    """Raises InputError for a position that is not on the layer's map."""
    count = layer.height * layer.width
    outside = [position for position in positions if position >= count]
    if outside:
        where = f"layer {layer.number} of {name}, whose map is {layer.height} x {layer.width}"
        raise InputError(f"positions 0 to {count - 1} in {where}", str(outside[0]), "change --positions or --layers")


def chosen_heads(words: Sequence[str], heads: int, layer: Layer) -> list[int]:
    """The heads that are kept one by one: none for 'mean'. Raises InputError for one that the layer has not."""
    if "all" in words:
        return list(range(heads))
    numbers = [int(word) for word in words if word != "mean"]
    outside = [number for number in numbers if number >= heads]
    if outside:
        raise InputError(f"heads 0 to {heads - 1} in layer {layer.number}", str(outside[0]), "change --heads")
    return numbers
