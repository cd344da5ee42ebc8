"""Convolutions whose weights outnumber what they are applied to, fast on a CPU."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from stmbench.kernels.patches import patch_conv
from stmbench.mixers.ops import are_single, is_as_written, is_eager_on_cpu, needs_gradient


class PatchConv(nn.Conv2d):
    """A convolution of (B, C, H, W) views of channels-last maps.

    On a CPU it is a product of patches and weights where the map it makes is small beside the weights: PyTorch's
    convolution brings these into another order first, at every call.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        weight = self._parameters.get("weight")  # one that is made anew each time it is asked for is made once
        if weight is None or not is_eager_on_cpu(x) or not self._is_product(x, weight):
            return super().forward(x)
        maps, padding = x.permute(0, 2, 3, 1), cast(tuple[int, int], self.padding)
        y = patch_conv(maps, weight, stride=self.stride[0], padding=padding[0], groups=self.groups)
        return y.permute(0, 3, 1, 2)

    def _is_product(self, x: Tensor, weight: Tensor) -> bool:
        geometry = (self.stride, self.padding, self.dilation)
        if x.ndim != 4 or self.bias is not None or not all(_is_even(pair) for pair in geometry):
            return False
        side, stride, padding = weight.shape[-1], self.stride[0], cast(tuple[int, int], self.padding)[0]
        is_plain = self.dilation == (1, 1) and self.padding_mode == "zeros" and weight.shape[2] == side
        if not is_plain or "_conv_forward" in vars(self) or not is_as_written(nn.Conv2d):
            return False
        is_own = x.shape[1] == weight.shape[1] * self.groups
        sizes = [(size + 2 * padding - side) // stride + 1 for size in x.shape[2:]]
        positions = len(x) * sizes[0] * sizes[1]
        # measured: products are faster from here on
        outputs = len(weight) // self.groups * (2.5 if needs_gradient(x, weight) else 1)
        return is_own and min(sizes) > 0 and positions > 0 and outputs >= positions and are_single(x, weight)


def _is_even(pair: object) -> bool:
    """Whether it is a number for rows and the same for columns."""
    return isinstance(pair, tuple) and len(pair) == 2 and pair[0] == pair[1]
