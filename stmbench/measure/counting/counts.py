"""`count`, the cost of a model for one image, and `Counts`, the result by kind, by part and by module.

fvcore traces the model, attributes each operation to a module, and adds up; the rules are those of `handles`.
"""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from math import prod

from torch import _C, Tensor, nn

from stmbench.errors import CountError
from stmbench.measure.counting.free_operations import FREE, MULTIPLYING
from stmbench.measure.counting.handles import HANDLES, Call, Handle, Tally, complex_factor, module_of, shape_of
from stmbench.measure.counting.tracing import traced

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # fvcore scripts a function when it is imported, which torch deprecates
    from fvcore.nn import FlopCountAnalysis
    from fvcore.nn.jit_analysis import JitModelAnalysis

OTHER = "other"  # the part of modules that no expression matches


@dataclasses.dataclass(frozen=True, kw_only=True)
class Counts:
    """Cost of one forward pass of one image.

    Attributes:
        total: the cost of the whole model.
        parts: the cost of each requested part, plus 'other' if something belongs to none; they add up to the total.
        modules: the cost of each module's own forward without its submodules, by dotted path.
        operations: how often each counted operation occurs, by its name in the trace.
        traced_on: 'meta', or the device on which the model had to be run.
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
        """Output elements of the operations that are counted in `macs`."""
        return self.total.activations

    def under(self, path: str) -> Tally:
        """The cost of a module and all its submodules, by dotted path ('' for the model)."""
        inside = (tally for name, tally in self.modules.items() if not path or f"{name}.".startswith(f"{path}."))
        return sum(inside, Tally())


def count(model: nn.Module, input_size: Sequence[int], *, parts: Mapping[str, str] | None = None) -> Counts:
    """Count a model's forward pass on one image, in evaluation mode.

    Args:
        model: any module that takes one tensor; it is copied and not modified.
        input_size: shape of one image, (3, H, W) for a model, (H, W, C) for a mixer.
        parts: for each part, a regular expression for the full dotted paths of its modules; a module that none of them
            matches belongs to the part of its nearest matching ancestor.

    Raises:
        CountError: an operation has no handle and is not registered as free (named with its module), or the model
            cannot be traced.
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
    """The total by fvcore's own rules, for comparison: with LayerNorm at 5 per element, without fused attention.

    Raises:
        CountError: the model cannot be traced.
    """
    return traced(model, input_size, fvcore_total)[0]


def _own_params(model: nn.Module) -> Counter[str]:
    """Parameters by the path of the module that holds them; a shared parameter counts for the first one."""
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


class Analysis(JitModelAnalysis):  # type: ignore[misc]  # fvcore has no types
    """One trace with our handles; fvcore's own list of operations that it silently ignores is not used.

    Attributes:
        modules: the cost of each module's own forward, by dotted path.
        operations: how often each counted operation occurs.
    """

    def __init__(self, model: nn.Module, image: Tensor) -> None:
        super().__init__(model, image)
        self.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        self._unknown: Counter[tuple[str, str]] = Counter()  # operation, module
        self._tallies: defaultdict[str, list[Tally]] = defaultdict(list)
        self.operations: Counter[str] = Counter()
        self._elementwise: dict[str, tuple[str, int]] = {}  # value name -> module, multiplications
        self._covered: set[str] = set()  # values whose cost is part of another call's
        self.set_op_handle(**{name: self._counted(name, rule) for name, rule in HANDLES.items()})
        self.total()  # traces
        self._refuse_unknown()
        for name, (module, count) in self._elementwise.items():
            if name not in self._covered:
                self._tallies[module].append(Tally(elementwise=count))
        self.modules = {module: sum(tallies, Tally()) for module, tallies in self._tallies.items()}

    def _counted(self, name: str, rule: Handle) -> Callable[[list[_C.Value], list[_C.Value]], Counter[str]]:
        def fvcore_handle(inputs: Sequence[_C.Value], outputs: Sequence[_C.Value]) -> Counter[str]:
            call = Call(inputs, outputs)
            tally = rule(call)
            self._covered |= call.covered
            if tally.kinds:
                self.operations[name] += 1
            if not tally.kinds:
                self._note_elementwise(outputs[0].node())
            self._tallies[call.module].append(tally)
            return Counter(tally.kinds)

        return fvcore_handle

    def _should_ignore_node(self, node: _C.Node) -> bool:
        """Called by fvcore for every node without a handle; records the ones that are not free."""
        name = node.kind()
        if name == "prim::PythonOp":
            name = f"{name}.{node.pyname()}"  # type: ignore[attr-defined]  # not in torch's stubs
        if name not in FREE:
            self._unknown[name, module_of(node)] += 1
        self._note_elementwise(node)
        return True

    def _note_elementwise(self, node: _C.Node) -> None:
        if node.kind() not in MULTIPLYING:
            return
        output = node.output()
        size = prod(shape_of(output) or ())
        if size > 1:  # scalars are bookkeeping
            self._elementwise[output.debugName()] = module_of(node), size * complex_factor(list(node.inputs()))

    def _refuse_unknown(self) -> None:
        if self._unknown:
            places = [f"{name} in {module or 'the model itself'}" for name, module in self._unknown]
            more = f" and {len(places) - 3} more" if len(places) > 3 else ""
            raise CountError(
                f"no rule for the multiply-adds of {', '.join(places[:3])}{more}; "
                "add a handle for it, or register it as free (see docs/counting.md)"
            )


def fvcore_total(model: nn.Module, image: Tensor) -> int:
    """The total of fvcore's own rules, which omit several operations."""
    analysis = FlopCountAnalysis(model, image)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    return int(analysis.total())
