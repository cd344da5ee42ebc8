"""Models compiled each by itself, and whether a compiler took a whole model into one graph.

Dynamo keeps its graphs by code object, at most 8 of them, and all models of an architecture have one `forward`: from
the fifth model at two batch sizes on it would run them eagerly without an error. A model that is called through a code
object of its own has a cache of its own.
"""

from __future__ import annotations

import dataclasses
import itertools
import types
from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor, nn

from stmbench.errors import UnitError

_numbers = itertools.count()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compilation:
    """What was compiled so far, or between two moments: graphs, and graph breaks by reason, as Dynamo counts them."""

    graphs: int
    breaks: Counter[str]

    @classmethod
    def so_far(cls) -> Compilation:
        """In this process."""
        from torch._dynamo.utils import counters  # a second to import, so only where something is compiled

        return cls(graphs=counters["stats"]["unique_graphs"], breaks=Counter(counters["graph_break"]))

    def since(self, earlier: Compilation) -> Compilation:
        """What came between."""
        return Compilation(graphs=self.graphs - earlier.graphs, breaks=self.breaks - earlier.breaks)

    @property
    def facts(self) -> dict[str, int]:
        """Plain numbers, for the metadata."""
        return {"graphs": self.graphs, "graph_breaks": self.breaks.total()}

    def require(self, graphs: int) -> None:
        """Raise UnitError unless exactly so many graphs were compiled and none of them broke."""
        broken = self.breaks.total()
        if self.graphs == graphs and not broken:
            return
        got = f"{_several(self.graphs, 'graph')} and {_several(broken, 'graph break')}"
        if broken:
            got += f" ({self.breaks.most_common(1)[0][0].splitlines()[0][:160]})"
        elif self.graphs < graphs:
            got += " (a limit of the compiler was hit, or it is turned off, and the rest runs eagerly)"
        wanted = _several(graphs, "compiled graph")
        raise UnitError(f"expected {wanted} without a break, got {got}; leave out --compile for this model")


def compiled(module: nn.Module) -> Callable[[Tensor], Tensor]:
    """`module` as a compiled function: a graph for each shape, in a cache that no other module shares."""

    def forward(x: Tensor) -> Tensor:
        found: Tensor = module(x)
        return found

    code = forward.__code__.replace(co_name=f"forward_{next(_numbers)}")
    own = types.FunctionType(code, forward.__globals__, code.co_name, None, forward.__closure__)
    result: Callable[[Tensor], Tensor] = torch.compile(own, dynamic=False)
    return result


def _several(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
