"""The affinity contract: for each head, the weight of every value token in every output position.

Gao et al., "Container: Context Aggregation Network", NeurIPS 2021, eqs. 1 and 2: a mixer that is a linear map of its
values, given its weights, is Y = A(X) V(X), head by head, followed by a projection. `A` is an `Affinity`; a mixer that
offers one is a `HasAffinity`.

    A                    shape (B, heads, N_out, N_in): N_out positions of the H x W map, row by row, N_in value tokens
    ├── AttentionAffinity   softmax(q k^T + bias), whose rows are computed on request
    ├── ProductAffinity     q k^T, whose rows are computed on request
    ├── CirculantAffinity   a convolution over the whole map, around its borders
    ├── MatrixAffinity      a stored matrix (for instance a static N x N one)
    ├── WindowAffinity      queries and keys of windows
    ├── StencilAffinity     taps at fixed offsets: convolutions, with weights per position or shared by all positions
    ├── PointAffinity       K columns for each output, possibly repeated (bilinear samples)
    └── combined            ScaledAffinity, RepeatedHeads, MixtureAffinity (alpha dynamic + beta static)
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from stmbench.errors import InputError
from stmbench.mixers.affinity.columns import Columns

Kind = Literal["static", "dynamic"]  # the same for every input, or computed from it
DENSE_LIMIT = 2**26  # numbers: 256 MiB in float32
BLOCK = 2**23  # numbers in a block of rows: 32 MiB in float32


class Affinity(abc.ABC):
    """A (B, heads, N_out, N_in) matrix for each image and head, held in whatever form is smallest.

    Attributes:
        shape: (B, heads, N_out, N_in).
        columns: where the value tokens lie, and which are padding.
    """

    def __init__(self, shape: tuple[int, int, int, int], columns: Columns, kind: Kind) -> None:
        assert shape[3] == len(columns), f"{shape[3]} value tokens, {len(columns)} columns"
        self.shape = shape
        self.columns = columns
        self._kind: Kind = kind

    @property
    def static(self) -> Affinity | None:
        """The part that is the same for every input; None where there is none. static + dynamic is the whole."""
        return self if self._kind == "static" else None

    @property
    def dynamic(self) -> Affinity | None:
        """The part that depends on the input; None where there is none."""
        return self if self._kind == "dynamic" else None

    @property
    def coefficients(self) -> Mapping[str, Tensor]:
        """Learned scalars that weigh the parts, by name (alpha, beta): (heads,) each. Empty for most mixers."""
        return {}

    @abc.abstractmethod
    def entries(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """The rows of `queries`, without the zeros that the form knows of.

        Args:
            queries: (Q,) long, output positions.

        Returns:
            columns, long, (Q, K), or (B, heads, Q, K) where they differ between images or heads; and weights (B or 1,
            heads, Q, K). A column appears once in a row, except that entries which stand for nothing repeat some column
            with a weight of exactly zero.
        """

    @abc.abstractmethod
    def rows(self, queries: Tensor) -> Tensor:
        """(Q,) long, output positions -> (B, heads, Q, N_in)."""

    @abc.abstractmethod
    def apply(self, values: Tensor) -> Tensor:
        """(B, heads, N_in, d) -> (B, heads, N_out, d)."""

    def dense(self, limit: int = DENSE_LIMIT) -> Tensor:
        """(B, heads, N_out, N_in).

        Raises:
            InputError: more than `limit` numbers.
        """
        numbers = math.prod(self.shape)
        if numbers > limit:
            raise InputError(
                f"an affinity of at most {limit:,} numbers",
                f"{' x '.join(str(size) for size in self.shape)} = {numbers:,}",
                "ask for the rows you need with rows(queries), or go through blocks()",
            )
        return self.rows(torch.arange(self.shape[2], device=self.columns.padding.device))

    def blocks(self, numbers: int = BLOCK) -> Iterator[Tensor]:
        """All output positions, in order, in pieces whose dense rows hold at most `numbers` numbers (one row at least).

        Yields:
            (Q,) long, to be passed to `rows` or `entries`.
        """
        batch, heads, outputs, inputs = self.shape
        size = max(1, numbers // (batch * heads * inputs))
        yield from torch.split(torch.arange(outputs, device=self.columns.padding.device), size)


JACOBIAN_INSTEAD: Final = "ask for the Jacobian affinity, which any mixer and any block has: --jacobian mixer"


@runtime_checkable
class HasAffinity(Protocol):
    """A mixer whose values are mixed linearly, given its weights. Besides the two methods it offers one of

    - `project(mixed (B, heads, H * W, d), height, width) -> (B, H, W, C)`: all that comes after, biases included, so
      that `project(affinity(x).apply(values(x)), H, W)` is the mixer's output;
    - `aggregated(x) -> (B, heads, H * W, d)`, where what comes after looks at the input again or is not linear (CoT's
      norm, activation and split attention): `affinity(x).apply(values(x))` is then equal to it, and it is what forward
      goes on with.

    `forward` calls none of these and stays free to use fused attention. A depthwise convolution has as many heads as
    channels, with d = 1.
    """

    def affinity(self, x: Tensor) -> Affinity:
        """(B, H, W, C) -> affinity of shape (B, heads, H * W, N_in)."""

    def values(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, heads, N_in, d): the value tokens, those of padding among them."""


def has_affinity(module: nn.Module) -> bool:
    """Whether a mixer offers an affinity."""
    return isinstance(module, HasAffinity)


def affinity_of(module: nn.Module, name: str) -> HasAffinity:
    """`module`, known to offer an affinity; `name` is the mixer's, for the message.

    Raises:
        InputError: it offers none.
    """
    if isinstance(module, HasAffinity):
        return module
    raise InputError(
        "a mixer that is a linear map of its values",
        f"{name}, which has no affinity",
        JACOBIAN_INSTEAD,
    )


def join_heads(mixed: Tensor, height: int, width: int) -> Tensor:
    """(B, heads, H * W, d) -> (B, H, W, heads * d), head by head: what most mixers' `project` starts with."""
    batch, heads, _, depth = mixed.shape
    return mixed.transpose(1, 2).reshape(batch, height, width, heads * depth)


def split_into_heads(x: Tensor, heads: int) -> Tensor:
    """(B, H, W, heads * d) -> (B, heads, H * W, d), head by head; the inverse of `join_heads`."""
    batch, height, width, channels = x.shape
    return x.reshape(batch, height * width, heads, channels // heads).transpose(1, 2)


NUMBERS = 2**22  # in a batch of copies: 16 MiB in float32, for each tensor that the backward pass keeps


def jacobian_affinity(function: Callable[[Tensor], Tensor], x: Tensor, positions: Tensor) -> Tensor:
    """Norms of d f_p / d x_k for some output positions p and every input position k.

    Args:
        function: (B, H, W, C) -> (B, H', W', C'), each image by itself (modules in eval mode are).
        x: (B, H, W, C).
        positions: (P,) long, row by row on the H' x W' map.

    Returns:
        (B, P, H * W), non-negative, without a graph.

    Raises:
        InputError: a position that is not on the map.
    """
    norms = [_of_one_image(function, image[None], positions) for image in x.detach()]
    return torch.stack(norms)


def _of_one_image(function: Callable[[Tensor], Tensor], image: Tensor, positions: Tensor) -> Tensor:
    """(1, H, W, C) -> (P, H * W)."""
    with torch.no_grad():
        _, rows, columns, channels = function(image).shape
    outside = positions[(positions < 0) | (positions >= rows * columns)].tolist()
    if outside:
        raise InputError(
            f"positions 0 to {rows * columns - 1}, on a map of {rows} x {columns}", str(outside[0]), "choose others"
        )
    # one product for each channel of each position
    place = positions.repeat_interleave(channels)
    channel = torch.arange(channels, device=positions.device).repeat(len(positions))
    number = torch.arange(len(positions), device=positions.device).repeat_interleave(channels)
    copies = min(max(1, NUMBERS // image.numel()), len(place))
    squares = image.new_zeros(len(positions), image.shape[1] * image.shape[2])
    with torch.enable_grad():
        batch = image.repeat(copies, 1, 1, 1).requires_grad_()
        output = function(batch).flatten(1, 2)  # copies, H' * W', C'
        for first in range(0, len(place), copies):
            chosen = slice(first, first + copies)
            cotangents = torch.zeros_like(output)
            which = torch.arange(len(place[chosen]), device=positions.device)
            cotangents[which, place[chosen], channel[chosen]] = 1
            (gradient,) = torch.autograd.grad(output, batch, cotangents, retain_graph=True)
            # copies without a product have a gradient of zero, and are left out
            squares.index_add_(0, number[chosen], gradient[: len(which)].square().sum(dim=3).flatten(1))
    return squares.sqrt()
