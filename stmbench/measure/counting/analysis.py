"""The bridge to fvcore, which traces a model, tells which module each operation ran in, and adds up."""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from math import prod

from torch import _C, Tensor, nn

from stmbench.errors import CountError
from stmbench.measure.counting.free import FREE, MULTIPLYING
from stmbench.measure.counting.handles import HANDLES, Call, Handle, complex_factor, module_of, shape_of
from stmbench.measure.counting.tally import Tally

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # fvcore scripts a function when it is imported, which torch deprecates
    from fvcore.nn import FlopCountAnalysis
    from fvcore.nn.jit_analysis import JitModelAnalysis


class Analysis(JitModelAnalysis):  # type: ignore[misc]  # fvcore has no types
    """One trace with our handles. fvcore's own list of operations to skip in silence has no say.

    Attributes:
        modules: what each module does in its own forward, by dotted path.
        operations: how often each counted operation occurs.
    """

    def __init__(self, model: nn.Module, image: Tensor) -> None:
        super().__init__(model, image)
        self.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        self._unknown: Counter[tuple[str, str]] = Counter()  # operation, module
        self._tallies: defaultdict[str, list[Tally]] = defaultdict(list)
        self.operations: Counter[str] = Counter()
        self._elementwise: dict[str, tuple[str, int]] = {}  # a value's name: module, multiplications
        self._covered: set[str] = set()  # values whose cost is in that of others
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
        """Asked by fvcore for every node without a handle: note the ones that are not free."""
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
        if size > 1:  # a number is a number's business
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
    """What fvcore counts by itself, with everything that it leaves out."""
    analysis = FlopCountAnalysis(model, image)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    return int(analysis.total())
