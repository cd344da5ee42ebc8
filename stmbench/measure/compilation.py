"""torch.compile for each model separately, and the check that a model was compiled into a single graph.

Dynamo caches at most 8 graphs per code object, and all models of an architecture share one `forward`: from the fifth
model at two batch sizes on, it would silently run them eagerly. Calling each model through a code object of its own
gives it a cache of its own.
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
    """Compiled graphs, and graph breaks by reason, as Dynamo counts them: so far, or between two moments."""

    graphs: int
    breaks: Counter[str]

    @classmethod
    def so_far(cls) -> Compilation:
        """The counts of this process so far."""
        from torch._dynamo.utils import counters  # takes a second to import

        return cls(graphs=counters["stats"]["unique_graphs"], breaks=Counter(counters["graph_break"]))

    def since(self, earlier: Compilation) -> Compilation:
        """What was compiled after `earlier`."""
        return Compilation(graphs=self.graphs - earlier.graphs, breaks=self.breaks - earlier.breaks)

    @property
    def facts(self) -> dict[str, int]:
        """The counts as stored in the metadata."""
        return {"graphs": self.graphs, "graph_breaks": self.breaks.total()}

    def require(self, graphs: int) -> None:
        """Raise UnitError unless exactly this many graphs were compiled, without a graph break."""
        broken = self.breaks.total()
        if self.graphs == graphs and not broken:
            return
        got = f"{_several(self.graphs, 'graph')} and {_several(broken, 'graph break')}"
        if broken:
            got += f" ({self.breaks.most_common(1)[0][0].splitlines()[0][:160]})"
        elif self.graphs < graphs:
            got += " (the compiler hit a limit or is disabled, and the rest runs eagerly)"
        wanted = _several(graphs, "compiled graph")
        raise UnitError(f"expected {wanted} without a break, got {got}; omit --compile for this model")


def compiled(module: nn.Module) -> Callable[[Tensor], Tensor]:
    """`module` as a compiled function: one graph per input shape, in a cache that no other module shares."""

    def forward(x: Tensor) -> Tensor:
        output: Tensor = module(x)
        return output

    code = forward.__code__.replace(co_name=f"forward_{next(_numbers)}")
    own = types.FunctionType(code, forward.__globals__, code.co_name, None, forward.__closure__)
    result: Callable[[Tensor], Tensor] = torch.compile(own, dynamic=False)
    return result


def _several(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
