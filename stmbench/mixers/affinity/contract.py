"""What a mixer offers whose output is a linear map of its values, given its weights."""

from __future__ import annotations

from typing import Final, Protocol, runtime_checkable

from torch import Tensor, nn

from stmbench.errors import InputError
from stmbench.mixers.affinity.base import Affinity

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


def joined_heads(mixed: Tensor, height: int, width: int) -> Tensor:
    """(B, heads, H * W, d) -> (B, H, W, heads * d), head by head: what most mixers' `project` starts with."""
    batch, heads, _, depth = mixed.shape
    return mixed.transpose(1, 2).reshape(batch, height, width, heads * depth)


def split_into_heads(x: Tensor, heads: int) -> Tensor:
    """(B, H, W, heads * d) -> (B, heads, H * W, d), head by head; the inverse of `joined_heads`."""
    batch, height, width, channels = x.shape
    return x.reshape(batch, height * width, heads, channels // heads).transpose(1, 2)
