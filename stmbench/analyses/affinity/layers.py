"""The layers of a model: its mixers in order, with the maps they see; and the choice among them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from stmbench.analyses.affinity.options import AffinityConfig
from stmbench.analyses.feature_layouts import first_tensor, layout_of
from stmbench.analyses.models import meta_model
from stmbench.architectures.catalog import ModelName, create_model
from stmbench.architectures.given_models import is_given
from stmbench.architectures.module_copies import FeatureSource, feature_source
from stmbench.data.preprocessing import Preprocessing
from stmbench.errors import InputError
from stmbench.mixers.affinity import Columns, HasAffinity, has_affinity

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layer:
    """One mixer: its number (from 1), its place (from 0), its path in the model, and the map it is made for.

    `prefix` tokens come before those of the map.
    """

    number: int
    stage: int
    block: int
    path: str
    height: int
    width: int
    prefix: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class AffinityFree:
    """Which mixers of a model have no affinity: all of them, some of the chosen layers', every chosen layer's."""

    all: bool
    some: bool
    every_chosen: bool


def layers_of(model: nn.Module, name: str, size: tuple[int, int]) -> list[Layer]:
    """Every mixer of a model, in order, with its map for an image of `size` (H, W).

    Of a given module they are those that its path pattern names; a stage is then what has maps of one size.

    Raises:
        InputError: a model whose mixers are not known (timm's, and modules given without a pattern).
    """
    source = feature_source(model)
    if source is not None and source.mixers:
        return _layers_at(model, source, size)
    if not hasattr(model, "mixers"):
        remedy = "choose one that `stmbench list models` shows, not timm's"
        if source is not None:
            remedy = "give a pattern of their paths: GivenModel(module=..., mixer='blocks.*.attn')"
        raise InputError("a model of which the mixers are known", name, remedy)
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


def _layers_at(model: nn.Module, source: FeatureSource, size: tuple[int, int]) -> list[Layer]:
    """The layers at a given module's mixers, in the order in which a pass over a grey image comes to them."""
    layers: list[Layer] = []

    def see(path: str) -> Callable[..., None]:
        def hook(_: nn.Module, arguments: Any, named: Any) -> None:
            x = first_tensor((arguments, named))
            if x is None or any(layer.path == path for layer in layers):
                return
            layout = layout_of(tuple(x.shape), size, source)
            last = layers[-1] if layers else None
            stays = last is not None and (last.height, last.width) == (layout.height, layout.width)
            stage, block = (0, 0) if last is None else (last.stage, last.block + 1) if stays else (last.stage + 1, 0)
            sides = {"height": layout.height, "width": layout.width, "prefix": layout.prefix}
            layers.append(Layer(number=len(layers) + 1, stage=stage, block=block, path=path, **sides))

        return hook

    handles = [
        model.get_submodule(path).register_forward_pre_hook(see(path), with_kwargs=True) for path in source.mixers
    ]
    like = next(model.parameters(), torch.empty(0))
    training = model.training
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, 3, *size, dtype=like.dtype, device=like.device))
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    if not layers:
        raise InputError("mixers that a pass comes to", ", ".join(source.mixers), "change the pattern `mixer`")
    return layers


def chosen_layers(layers: Sequence[Layer], words: Sequence[str], name: str) -> list[Layer]:
    """The layers that `AffinityConfig.layers` names, in the model's order. Raises InputError for one it has not."""
    chosen = [layer for layer in layers if any(_is_named(layer, word, len(layers)) for word in words)]
    for word in words:
        if not any(_is_named(layer, word, len(layers)) for layer in chosen):
            ends = [f"{layer.stage + 1}.{layer.block + 1}" for layer in (layers[0], layers[-1])]
            expected = f"layers 1 to {len(layers)}" if "." not in word else f"layers {ends[0]} to {ends[1]}"
            raise InputError(f"{expected} of {name}", word, "change --layers")
    return chosen


def _is_named(layer: Layer, word: str, count: int) -> bool:
    if "." in word:
        return word.split(".") == [str(layer.stage + 1), str(layer.block + 1)]
    return word == "all" or layer.number == ({"first": 1, "last": count}.get(word) or int(word))


def check_choice(name: str, config: AffinityConfig, resolution: tuple[int, int] | None) -> AffinityFree:
    """Find out before any work whether a model has what was asked for, without allocating it where that can be done.

    Raises:
        InputError: there is no such layer, position or head.
    """
    options = dict(ModelName.parse(name).options)
    # the maps of a given module's mixers are seen in a pass, which needs its weights
    model = create_model(name) if is_given(name) else meta_model(name, **options)
    layers = layers_of(model, name, Preprocessing.of(model, resolution).size)
    chosen = chosen_layers(layers, config.layers, name)
    for layer in chosen:
        check_positions(config.positions_on(layer.height, layer.width), layer, name)
    if set(config.heads) - {"mean", "all"} and hasattr(model, "mixers"):
        _check_heads(create_model(name, **options), chosen, config)
    free = [not has_affinity(model.get_submodule(layer.path)) for layer in layers]
    return AffinityFree(
        all=all(free),
        some=any(f and layer in chosen for f, layer in zip(free, layers, strict=True)),
        every_chosen=all(f for f, layer in zip(free, layers, strict=True) if layer in chosen),
    )


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
