"""`count`: a model's cost for one image, and `Counts`, which holds it by kind, by part and by module."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from torch import nn

from stmbench.measure.counting.analysis import Analysis, fvcore_total
from stmbench.measure.counting.tally import Tally
from stmbench.measure.counting.trace import traced

OTHER = "other"  # the part of whatever no part's expression matches


@dataclasses.dataclass(frozen=True, kw_only=True)
class Counts:
    """Cost of one forward pass of one image.

    Attributes:
        total: the whole model.
        parts: the parts asked for, and 'other' where something belongs to none of them; they add up to the total.
        modules: by dotted path, what a module does in its own forward, without its submodules.
        operations: how often each counted operation occurs, by its name in the trace.
        traced_on: 'meta', or the device on which the arithmetic had to be run.
    """

    total: Tally
    parts: Mapping[str, Tally]
    modules: Mapping[str, Tally]
    operations: Mapping[str, int]
    traced_on: str

    @property
    def params(self) -> int:
        """Parameters, each counted once."""
        return self.total.params

    @property
    def macs(self) -> int:
        """Multiply-adds of all kinds in `MAC_KINDS`."""
        return self.total.macs

    @property
    def activations(self) -> int:
        """Elements put out by what is counted in `macs`."""
        return self.total.activations

    def under(self, path: str) -> Tally:
        """The cost of a module and all its submodules, by dotted path ('' is the model)."""
        inside = (tally for name, tally in self.modules.items() if not path or f"{name}.".startswith(f"{path}."))
        return sum(inside, Tally())


def count(model: nn.Module, input_size: Sequence[int], *, parts: Mapping[str, str] | None = None) -> Counts:
    """Count a model's forward pass on one image, in evaluation mode.

    Args:
        model: any module that takes one tensor; it is copied, and left as it is.
        input_size: shape of one image, (3, H, W) for a model, (H, W, C) for a mixer.
        parts: regular expressions that match the whole dotted paths of the modules in each part; a module that none
            matches belongs to the part of its nearest ancestor that one matches.

    Raises:
        CountError: an operation has neither a handle nor a place on the list of free ones (named with its module), or
            the model cannot be traced.
    """
    analysis, device = traced(model, input_size, Analysis)
    modules = {**analysis.modules}
    for path, params in _own_params(model).items():
        modules[path] = modules.get(path, Tally()) + Tally(params=params)
    return Counts(
        total=sum(modules.values(), Tally()),
        parts=_by_part(modules, parts) if parts else {},
        modules=modules,
        operations=dict(analysis.operations),
        traced_on=device,
    )


def fvcore_default(model: nn.Module, input_size: Sequence[int]) -> int:
    """The total of fvcore's own rules, for comparison: LayerNorm at 5 an element is in it, fused attention is not.

    Raises:
        CountError: the model cannot be traced.
    """
    return traced(model, input_size, fvcore_total)[0]


def _own_params(model: nn.Module) -> Counter[str]:
    """Parameters by the path of the module that holds them; a shared one belongs to the first that does."""
    held: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        held[name.rpartition(".")[0]] += parameter.numel()
    return held


def _by_part(modules: Mapping[str, Tally], parts: Mapping[str, str]) -> dict[str, Tally]:
    totals: defaultdict[str, Tally] = defaultdict(Tally, {name: Tally() for name in parts})
    for path, tally in modules.items():
        totals[_part_of(path, parts)] += tally
    return dict(totals)


def _part_of(path: str, parts: Mapping[str, str]) -> str:
    while path:
        for name, expression in parts.items():
            if re.fullmatch(expression, path):
                return name
        path = path.rpartition(".")[0]
    return OTHER
