"""The cost rules of operations: a rule reads a `Call` and returns a `Tally`; `handle` registers it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from math import prod
from typing import Any

from torch import _C

from stmbench.errors import CountError, DuplicateNameError, InputError
from stmbench.measure.counting.free_operations import REARRANGING

# kinds of operations whose multiply-adds add up to `macs`
MAC_KINDS = frozenset({"conv", "linear", "matmul", "sampling", "fft", "recurrence"})
# kinds that only some published figures include, and `macs` does not
OTHER_KINDS = frozenset({"norm", "pool", "interpolation"})
KINDS = MAC_KINDS | OTHER_KINDS

_TRANSPARENT = REARRANGING | {"prim::ListUnpack"}

SAMPLERS = frozenset({"aten::grid_sampler", "aten::grid_sampler_2d", "aten::grid_sampler_3d"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tally:
    """The cost of one operation, of a part, or of a whole model, for one image.

    Attributes:
        kinds: multiply-adds by kind (`KINDS`); those outside of `macs` are fvcore's estimates for operations that
            hardly multiply (LayerNorm at 5 per element, for example).
        activations: output elements of convolutions, linear layers, matrix products and sampling.
        elements_moved: elements that these operations, norms, activations and pooling must at least read (inputs and
            weights) and write, for each operation separately.
        params: parameters, each counted once.
        elementwise: multiplications, divisions, powers and exponentials of single elements that no kind includes.
    """

    kinds: Mapping[str, int] = dataclasses.field(default_factory=dict)
    activations: int = 0
    elements_moved: int = 0
    params: int = 0
    elementwise: int = 0

    @property
    def macs(self) -> int:
        """Multiply-adds of all kinds in `MAC_KINDS`."""
        return self.under(MAC_KINDS)

    @property
    def elementwise_share(self) -> float:
        """The fraction of all multiplications that `macs` omits because they are elementwise; 0 to 1."""
        every = self.macs + self.elementwise
        return self.elementwise / every if every else 0.0

    def under(self, convention: Collection[str]) -> int:
        """Multiply-adds of the kinds that a convention includes. Raises InputError for an unknown kind."""
        for kind in convention:
            if kind not in KINDS:
                raise InputError(
                    f"a kind of operation ({', '.join(sorted(KINDS))})", repr(kind), "correct the convention"
                )
        return sum(self.kinds.get(kind, 0) for kind in convention)

    def bytes_moved(self, bytes_per_element: int = 4) -> int:
        """`elements_moved` in bytes, for elements of one size (4 bytes for fp32)."""
        return self.elements_moved * bytes_per_element

    def intensity(self, bytes_per_element: int = 4) -> float:
        """Arithmetic intensity in MACs per byte; 0 if nothing is moved."""
        moved = self.bytes_moved(bytes_per_element)
        return self.macs / moved if moved else 0.0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            kinds=dict(Counter(self.kinds) + Counter(other.kinds)),
            activations=self.activations + other.activations,
            elements_moved=self.elements_moved + other.elements_moved,
            params=self.params + other.params,
            elementwise=self.elementwise + other.elementwise,
        )


Handle = Callable[["Call"], Tally]
HANDLES: dict[str, Handle] = {}


def handle(*operations: str) -> Callable[[Handle], Handle]:
    """Decorator that registers a function as the rule for operations, which are named as in a trace.

    Examples are `aten::bmm`, `my_library::mix`, and `prim::PythonOp.MyFunction` for an autograd.Function. Raises
    DuplicateNameError for an operation that has a rule already.
    """

    def decorate(rule: Handle) -> Handle:
        for operation in operations:
            if operation in HANDLES:
                raise DuplicateNameError(f"the operation {operation!r} has a handle already")
            HANDLES[operation] = rule
        return rule

    return decorate


class Call:
    """One operation in a traced forward pass: its name, and the shapes and constants of its inputs and outputs."""

    def __init__(self, inputs: Sequence[_C.Value], outputs: Sequence[_C.Value]) -> None:
        self.inputs, self.outputs = inputs, outputs
        self.covered: set[str] = set()

    @property
    def operation(self) -> str:
        """The name in the trace, such as `aten::bmm`."""
        return self.outputs[0].node().kind()

    @property
    def module(self) -> str:
        """Dotted path of the module whose forward called the operation, '' for the model itself."""
        return module_of(self.outputs[0].node())

    def shape(self, index: int) -> tuple[int, ...]:
        """Shape of a tensor input. Raises CountError if it is not in the trace."""
        return self._known(self.inputs[index], f"input {index}")

    @property
    def output(self) -> tuple[int, ...]:
        """Shape of the first output. Raises CountError if it is not in the trace."""
        return self._known(self.outputs[0], "the output")

    def is_tensor(self, index: int) -> bool:
        """Whether an input exists and is a tensor (False for None)."""
        return index < len(self.inputs) and shape_of(self.inputs[index]) is not None

    def constant(self, index: int) -> Any:
        """A constant input: a number, string, flag, list of these, or None."""
        return constant_of(self.inputs[index])

    def tensors(self, index: int) -> list[tuple[int, ...]]:
        """Shapes of a list of tensors. Raises CountError if they are not in the trace."""
        return [self._known(value, f"input {index}") for value in self.inputs[index].node().inputs()]

    @property
    def elements_moved(self) -> int:
        """Elements of all input and output tensors."""
        return sum(prod(shape) for value in (*self.inputs, *self.outputs) for shape in _shapes(value))

    def tally(self, kind: str, macs: int) -> Tally:
        """The cost of a product: `macs` of one kind, and its output as activations.

        A product of two complex numbers costs four multiply-adds, one of a complex and a real number two. (The counts
        of Fourier transforms are for complex points already.)
        """
        if kind != "fft":
            macs *= complex_factor(self.inputs)
        return Tally(kinds={kind: macs}, activations=prod(self.output), elements_moved=self.elements_moved)

    def covers(self, *nodes: _C.Node) -> None:
        """Declare that the cost of this call includes that of these nodes, so it is not reported as omitted."""
        self.covered.update(output.debugName() for node in nodes for output in node.outputs())

    def _known(self, value: _C.Value, what: str) -> tuple[int, ...]:
        shape = shape_of(value)
        if shape is None:
            raise CountError(
                f"{self.operation} in {self.module or 'the model'}: the shape of {what} is not in the trace"
            )
        return shape


def module_of(node: _C.Node) -> str:
    """Dotted path of the innermost module around a node, which fvcore records as a scope."""
    return node.scopeName().split("/")[-1]


def shape_of(value: _C.Value) -> tuple[int, ...] | None:
    """Shape of a traced tensor; None for other values."""
    tensor_type: Any = value.type()  # a TensorType, whose sizes() is missing from torch's stubs
    return tuple(tensor_type.sizes()) if value.isCompleteTensor() else None


def complex_factor(inputs: Sequence[_C.Value]) -> int:
    """Real multiplications per product of these: 1, or 2 if one is complex, or 4 if two or more are."""
    values = [item for value in inputs for item in _items(value)]
    count = sum(is_complex(value) for value in values)
    return 1 if count == 0 else 2 if count == 1 else 4


def is_complex(value: _C.Value) -> bool:
    """Whether a traced value is a tensor of complex numbers."""
    tensor_type: Any = value.type()
    return value.isCompleteTensor() and str(tensor_type.scalarType()).startswith("Complex")


def is_integer(value: _C.Value) -> bool:
    """Whether a traced value is a tensor of integers, which are indices and masks."""
    tensor_type: Any = value.type()
    return value.isCompleteTensor() and str(tensor_type.scalarType()) in ("Long", "Int", "Short", "Char", "Byte")


def constant_of(value: _C.Value) -> Any:
    """The value of a constant in the trace; lists item by item."""
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


def origin(value: _C.Value) -> _C.Node:
    """The node that computed `value`, ignoring views, permutations and copies."""
    node = value.node()
    while node.kind() in _TRANSPARENT:
        node = next(iter(node.inputs())).node()
    return node


def is_sampled(value: _C.Value) -> bool:
    """Whether `value` contains interpolated samples, so that a factor on it is a sample's weight."""
    return origin(value).kind() in SAMPLERS
