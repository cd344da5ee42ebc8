"""The table of operations that are counted: a name as the trace shows it, and the rule that reads its cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any

from torch import _C

from stmbench.errors import CountError, DuplicateNameError
from stmbench.measure.counting.tally import Tally

Handle = Callable[["Call"], Tally]
HANDLES: dict[str, Handle] = {}


def handle(*operations: str) -> Callable[[Handle], Handle]:
    """Decorator that makes a function the rule for operations, named as in a trace (`aten::bmm`, `my_library::mix`;
    `prim::PythonOp.MyFunction` for an autograd.Function). Raises DuplicateNameError for a name that has a rule."""

    def decorate(rule: Handle) -> Handle:
        for operation in operations:
            if operation in HANDLES:
                raise DuplicateNameError(f"the operation {operation!r} has a handle already")
            HANDLES[operation] = rule
        return rule

    return decorate


class Call:
    """One operation of a traced forward pass: its name, and shapes and constants of what goes in and comes out."""

    def __init__(self, inputs: Sequence[_C.Value], outputs: Sequence[_C.Value]) -> None:
        self.inputs, self.outputs = inputs, outputs
        self.covered: set[str] = set()

    @property
    def operation(self) -> str:
        """The name in the trace, such as `aten::bmm`."""
        return self.outputs[0].node().kind()

    @property
    def module(self) -> str:
        """Dotted path of the module whose forward called it, '' for the model itself."""
        return module_of(self.outputs[0].node())

    def shape(self, index: int) -> tuple[int, ...]:
        """Shape of a tensor input. Raises CountError where the trace does not know it."""
        return self._known(self.inputs[index], f"input {index}")

    @property
    def output(self) -> tuple[int, ...]:
        """Shape of the first output. Raises CountError where the trace does not know it."""
        return self._known(self.outputs[0], "the output")

    def is_tensor(self, index: int) -> bool:
        """Whether an input is there and is a tensor (False for None)."""
        return index < len(self.inputs) and shape_of(self.inputs[index]) is not None

    def constant(self, index: int) -> Any:
        """A number, string, flag, or a list of them, that the trace holds as a constant; None for None."""
        return constant_of(self.inputs[index])

    def tensors(self, index: int) -> list[tuple[int, ...]]:
        """Shapes of a list of tensors. Raises CountError where the trace does not know them."""
        return [self._known(value, f"input {index}") for value in self.inputs[index].node().inputs()]

    @property
    def elements_moved(self) -> int:
        """Elements of all tensors that go in and come out."""
        return sum(prod(shape) for value in (*self.inputs, *self.outputs) for shape in _shapes(value))

    def tally(self, kind: str, macs: int) -> Tally:
        """The cost of a product: `macs` of one kind, and its output as activations.

        Complex numbers: a product of two costs four multiply-adds, one with a real number two. (What is said of Fourier
        transforms is of complex points already.)
        """
        if kind != "fft":
            macs *= complex_factor(self.inputs)
        return Tally(kinds={kind: macs}, activations=prod(self.output), elements_moved=self.elements_moved)

    def covers(self, *nodes: _C.Node) -> None:
        """Say that this call's cost holds what these nodes compute, so that they are not told as left out."""
        self.covered.update(output.debugName() for node in nodes for output in node.outputs())

    def _known(self, value: _C.Value, what: str) -> tuple[int, ...]:
        shape = shape_of(value)
        if shape is None:
            raise CountError(
                f"{self.operation} in {self.module or 'the model'}: the shape of {what} is not in the trace"
            )
        return shape


def module_of(node: _C.Node) -> str:
    """Dotted path of the innermost module around a node: fvcore pushes these paths as scopes."""
    return node.scopeName().split("/")[-1]


def shape_of(value: _C.Value) -> tuple[int, ...] | None:
    """Shape of a traced tensor; None where it is not a tensor."""
    tensor_type: Any = value.type()  # a TensorType, whose sizes() torch's stubs leave out
    return tuple(tensor_type.sizes()) if value.isCompleteTensor() else None


def complex_factor(inputs: Sequence[_C.Value]) -> int:
    """Real multiplications of a product of these: 1, 2 where one of them is complex, 4 where two or more are."""
    values = [item for value in inputs for item in _items(value)]
    count = sum(is_complex(value) for value in values)
    return 1 if count == 0 else 2 if count == 1 else 4


def is_complex(value: _C.Value) -> bool:
    """Whether a traced value is a tensor of complex numbers."""
    tensor_type: Any = value.type()
    return value.isCompleteTensor() and str(tensor_type.scalarType()).startswith("Complex")


def constant_of(value: _C.Value) -> Any:
    """What a constant of the trace holds; lists item by item."""
    node = value.node()
    if node.kind() == "prim::ListConstruct":
        return [constant_of(item) for item in node.inputs()]
    return value.toIValue()


def _shapes(value: _C.Value) -> Iterator[tuple[int, ...]]:
    for item in _items(value):
        shape = shape_of(item)
        if shape is not None:
            yield shape


def _items(value: _C.Value) -> Sequence[_C.Value]:
    return list(value.node().inputs()) if value.node().kind() == "prim::ListConstruct" else (value,)
