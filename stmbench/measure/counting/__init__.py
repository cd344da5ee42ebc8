"""Parameters, multiply-adds, activations and memory traffic of a model, by kind of operation and by part.

Every operation of a forward pass either has a rule or is registered as free; any other operation makes the count fail.

counts           `count` and its result `Counts`
handles          what a rule reads (`Call`) and returns (`Tally`), and how it is registered (`handle`)
tracing          a forward pass as a graph of operations
free_operations  operations that cost nothing (`register_free`)
products         linear layers, matrix products, einsum, fused attention, convolutions, Fourier transforms
sampling_norms   sampling at computed positions, deformable convolution, resizing; norms, pooling, activations
recurrence       scans written as elementwise operations
"""

from stmbench.measure.counting import products, recurrence, sampling_norms  # noqa: F401  (they register their rules)
from stmbench.measure.counting.counts import Counts, count, fvcore_default
from stmbench.measure.counting.free_operations import register_free
from stmbench.measure.counting.handles import KINDS, MAC_KINDS, Call, Tally, handle

__all__ = ["KINDS", "MAC_KINDS", "Call", "Counts", "Tally", "count", "fvcore_default", "handle", "register_free"]
