"""Parameters, multiply-adds, activations and memory traffic of a model, by kind of operation and by part.

Every operation of a forward pass is either counted or on an explicit list of free ones; any other makes the count fail.
"""

from stmbench.measure.counting import (  # noqa: F401  (they register their handles)
    attention,
    convolution,
    einsum,
    fourier,
    normalization,
    products,
    recurrence,
    sampling,
)
from stmbench.measure.counting.counts import Counts, count, fvcore_default
from stmbench.measure.counting.free import register_free
from stmbench.measure.counting.handles import Call, handle
from stmbench.measure.counting.tally import KINDS, MAC_KINDS, Tally

__all__ = ["KINDS", "MAC_KINDS", "Call", "Counts", "Tally", "count", "fvcore_default", "handle", "register_free"]
