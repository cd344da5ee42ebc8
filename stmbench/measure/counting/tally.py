"""What operations cost: multiply-adds by kind, activations, elements moved."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Mapping

from stmbench.errors import InputError

# kinds whose multiply-adds make up `macs`
MAC_KINDS = frozenset({"conv", "linear", "matmul", "sampling", "fft", "recurrence"})
# kinds that only some published figures include
OTHER_KINDS = frozenset({"norm", "pool", "interpolation"})
KINDS = MAC_KINDS | OTHER_KINDS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tally:
    """Cost of one operation, of a part, or of a whole model, for one image.

    Attributes:
        kinds: multiply-adds by kind (`KINDS`); the three that are not in `macs` are fvcore's estimates of operations
            that hardly multiply (LayerNorm at 5 per element and so on).
        activations: elements put out by convolutions, linear layers, matrix products and samplings.
        elements_moved: elements that these, norms, activations and pooling must at least read (inputs and weights) and
            write, each operation by itself.
        params: parameters, each once.
        elementwise: multiplications, divisions, powers and exponentials of single elements that no kind counts.
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
        """The part of all multiplications that `macs` leaves out, since they are of single elements; 0 to 1."""
        every = self.macs + self.elementwise
        return self.elementwise / every if every else 0.0

    def under(self, convention: Collection[str]) -> int:
        """Multiply-adds of the kinds that a convention counts. Raises InputError for a kind there is not."""
        for kind in convention:
            if kind not in KINDS:
                raise InputError(
                    f"a kind of operation ({', '.join(sorted(KINDS))})", repr(kind), "correct the convention"
                )
        return sum(self.kinds.get(kind, 0) for kind in convention)

    def bytes_moved(self, bytes_per_element: int = 4) -> int:
        """`elements_moved` in bytes, all of them of one width (4 for fp32)."""
        return self.elements_moved * bytes_per_element

    def intensity(self, bytes_per_element: int = 4) -> float:
        """Arithmetic intensity, MAC per byte; 0 where nothing moves."""
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
