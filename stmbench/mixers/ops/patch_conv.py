"""Convolutions whose weights outnumber what they are applied to, fast on a CPU."""

from __future__ import annotations

from torch import Tensor, nn

from stmbench.kernels.patches import patch_conv
from stmbench.mixers.ops import are_single, is_eager_on_cpu, needs_gradient


class PatchConv(nn.Conv2d):
    """A convolution of (B, C, H, W) views of channels-last maps.

    On a CPU it is a product of patches and weights where the map it makes is small beside the weights: PyTorch's
    convolution brings these into another order first, at every call.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        if not self._is_product(x):
            return super().forward(x)
        stride, padding = self.stride[0], self.padding[0]
        assert not isinstance(padding, str)
        y = patch_conv(x.permute(0, 2, 3, 1), self.weight, stride=stride, padding=padding, groups=self.groups)
        return y.permute(0, 3, 1, 2)

    def _is_product(self, x: Tensor) -> bool:
        if not is_eager_on_cpu(x) or x.ndim != 4 or self.bias is not None or "_conv_forward" in vars(self):
            return False
        (height, width), (down, across), padding = self.weight.shape[2:], self.stride, self.padding
        is_square = height == width and down == across and self.dilation == (1, 1) and padding[0] == padding[-1]
        if not is_square or isinstance(padding, str) or self.padding_mode != "zeros":
            return False
        is_own = x.shape[1] == self.weight.shape[1] * self.groups
        sizes = [(size + 2 * padding[0] - height) // down + 1 for size in x.shape[2:]]
        positions = len(x) * sizes[0] * sizes[1]
        # measured: products are faster from here on
        outputs = len(self.weight) // self.groups * (2 if needs_gradient(x, self.weight) else 1)
        return is_own and min(sizes) > 0 and positions > 0 and outputs >= positions and are_single(x, self.weight)
