"""What is looked at when a forward pass stops at a layer, and what came of it: the base of the three studies."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterator
from typing import ClassVar

from torch import Tensor, nn

from stmbench.analyses.affinity.layers import Geometry, Layer, check_positions, chosen_layers, layers_of
from stmbench.analyses.affinity.maps import LayerMaps
from stmbench.analyses.affinity.options import AffinityConfig
from stmbench.analyses.affinity.row_statistics import Item
from stmbench.analyses.loaded_model import LoadedModel
from stmbench.mixers.affinity import Affinity, Columns


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """One value; `condition` is the part of the affinity, `position` the output position where it is of only one."""

    layer: Layer
    item: Item
    condition: str
    position: int | None = None


class Study(abc.ABC):
    """Takes in what goes into each layer, batch by batch.

    Attributes:
        layers: those that are looked at, with the dotted path of the module.
        maps: the rows that are kept, by layer.
        without: layers whose mixer has no affinity.
    """

    task: ClassVar[str]  # of its unit of work
    definition: ClassVar[str] = "affinity.v1"
    metric: ClassVar[str] = "attention_distance"  # what a failure's rows are named for
    words: ClassVar[str]

    def __init__(self, loaded: LoadedModel, config: AffinityConfig, *, seed: int) -> None:
        self.loaded, self.config, self.seed = loaded, config, seed
        self.maps: dict[Layer, LayerMaps] = {}
        self.without: list[Layer] = []
        every = layers_of(loaded.model, loaded.name, loaded.preprocessing.size)
        self.layers = [(layer, self.path(layer)) for layer in self.choose(every)]

    def choose(self, layers: list[Layer]) -> list[Layer]:
        """The layers that are looked at: those asked for."""
        return chosen_layers(layers, self.config.layers, self.loaded.name)

    def path(self, layer: Layer) -> str:
        """The dotted path of the module that is looked at: the mixer's."""
        return layer.path

    @abc.abstractmethod
    def look(self, layer: Layer, module: nn.Module, x: Tensor) -> None:
        """Take in a module and what goes into it."""

    def findings(self) -> Iterator[Finding]:
        """What came of all batches."""
        return iter(())

    def positions(self, layer: Layer) -> tuple[int, ...]:
        """The positions on this layer's map. Raises InputError for one that is not there."""
        chosen = self.config.positions_on(layer.height, layer.width)
        check_positions(chosen, layer, self.loaded.name)
        return chosen

    def geometry(self, columns: Columns, height: int, width: int) -> Geometry:
        """Where columns lie from the queries of a height x width map, in pixels of the image."""
        image = self.loaded.preprocessing.size
        pixels = image[0] / columns.height, image[1] / columns.width
        return Geometry(columns=columns, height=height, width=width, pixels=pixels, radii=self.config.radii)


def parts_of(affinity: Affinity) -> dict[str, Affinity]:
    """The whole, and its static and dynamic parts where it has both."""
    static, dynamic = affinity.static, affinity.dynamic
    if static is None or dynamic is None:
        return {"whole": affinity}
    return {"whole": affinity, "static": static, "dynamic": dynamic}
