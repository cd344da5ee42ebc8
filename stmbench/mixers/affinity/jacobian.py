"""Affinity of anything that is differentiable: how strongly each input position moves each output position.

For a map f of (H, W, C) the weight of input k in output p is the Frobenius norm of the C' x C block d f_p / d x_k of
the Jacobian. It is exact: one vector-Jacobian product for every output channel of a position, many of them in one
backward pass, over a batch of copies of the image. It has no sign and no heads, and the weights are differentiated too:
for attention it is not the map of weights but what a small change of x_k does, through values, keys and queries.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from stmbench.errors import InputError

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
        found = function(batch).flatten(1, 2)  # copies, H' * W', C'
        for first in range(0, len(place), copies):
            chosen = slice(first, first + copies)
            cotangents = torch.zeros_like(found)
            which = torch.arange(len(place[chosen]), device=positions.device)
            cotangents[which, place[chosen], channel[chosen]] = 1
            (gradient,) = torch.autograd.grad(found, batch, cotangents, retain_graph=True)
            # copies without a product have a gradient of zero, and are left out
            squares.index_add_(0, number[chosen], gradient[: len(which)].square().sum(dim=3).flatten(1))
    return squares.sqrt()
