"""Depthwise convolutions: the same numbers as PyTorch's, in whichever way is fast on a CPU.

PyTorch's gradient of a depthwise kernel costs about 4 forward passes for a 5 x 5 kernel and 40 for a 31 x 31 one. Here
it is compiled, and without a compiler a correlation by Fourier transforms where that is faster; the input's gradient is
a convolution with the flipped kernel. In float64, for which PyTorch has no fast kernels at all, the forward pass is
compiled, or a product of spectra.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.kernels.depthwise import depthwise, depthwise_of_kernel
from stmbench.kernels.setting import can_run_in
from stmbench.mixers.ops import needs_gradient
from stmbench.mixers.ops.neighbourhood_sums import kernel_sum

FOURIER_FROM = 13  # side of the smallest kernel whose gradient is faster by Fourier transforms than by PyTorch
COMPILED_FROM = 5, 9  # side of the smallest kernel whose gradient, and whose forward pass, is faster compiled
WORTHWHILE = 1_000_000  # multiply-adds of the smallest forward pass whose kernel's gradient is faster compiled
SLOW, FAST = 13, 15  # oneDNN is slower with channels-last kernels of the first side than with those of the second
# how far a dilated kernel may span before oneDNN leaves its fast path, and on a map below this side
SPAN, SPAN_ON_SMALL, WIDE = 13, 9, 8
HAS_AVX512 = torch.backends.cpu.get_cpu_capability() == "AVX512"
# lengths without prime factors above 5
SMOOTH = sorted(2**a * 3**b * 5**c for a in range(11) for b in range(5) for c in range(3))


class DepthwiseConv(nn.Conv2d):
    """(B, H, W, C) -> (B, H, W, C): one kernel for each channel, zero padding."""

    def __init__(self, dim: int, kernel: int, dilation: int = 1, *, bias: bool = True) -> None:
        padding = dilation * (kernel // 2)
        super().__init__(dim, dim, kernel, padding=padding, dilation=dilation, groups=dim, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        return depthwise_conv(x, self.weight, self.bias, self.dilation[0])

    def reference(self, x: Tensor) -> Tensor:
        """The same map as a sum over the taps."""
        y = kernel_sum(x, self.weight[:, 0], self.dilation[0])
        return y if self.bias is None else y + self.bias

    def kernel(self) -> tuple[Tensor, Tensor]:
        """(C, K, K), and (C,) the bias."""
        assert self.bias is not None
        return self.weight[:, 0], self.bias


def depthwise_conv(x: Tensor, kernel: Tensor, bias: Tensor | None = None, dilation: int = 1) -> Tensor:
    """Depthwise convolution with zero padding, same size.

    Args:
        x: (B, H, W, C).
        kernel: (C, 1, K, K), K odd.
        bias: (C,).
        dilation: the distance between taps.

    Returns:
        (B, H, W, C).
    """
    image = x.permute(0, 3, 1, 2)  # a channels-last view: no copy
    side = int(kernel.shape[2])
    # a trace is for counting or export: show the plain form
    plain = x.device.type != "cpu" or torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call,unused-ignore]
    if plain or (dilation == 1 and side < FOURIER_FROM and not _is_worthwhile(x, kernel)):
        y = _plain(image, kernel, bias, dilation)
        return y.permute(0, 2, 3, 1)
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        image, kernel, bias = image.to(dtype), kernel.to(dtype), None if bias is None else bias.to(dtype)
    if needs_gradient(image, kernel):
        y = _Depthwise.apply(image, kernel, bias, dilation)
    else:
        y = _convolved(image, kernel, bias, dilation)
    return y.permute(0, 2, 3, 1)


def _plain(image: Tensor, kernel: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
    """(B, C, H, W) and (C, 1, K, K) -> (B, C, H, W)."""
    padding = dilation * (int(kernel.shape[2]) // 2)  # a tensor, in a trace
    return F.conv2d(image, kernel, bias, padding=padding, dilation=dilation, groups=len(kernel))


class _Depthwise(torch.autograd.Function):
    """(B, C, H, W), (C, 1, K, K), (C,) or None, dilation -> (B, C, H, W)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(image: Tensor, kernel: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
        return _convolved(image, kernel, bias, dilation)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None, int], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.set_materialize_grads(False)
        ctx.dilation = inputs[3]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None) -> tuple[Tensor | None, ...]:
        if gradient is None:
            return (None,) * 4
        image, kernel = ctx.saved_tensors
        needed, dilation = ctx.needs_input_grad, ctx.dilation
        of_image = of_kernel = of_bias = None
        if needed[0]:
            of_image = _convolved(gradient, kernel.flip(2, 3), None, dilation)
        if needed[1] and kernel.shape[2] >= COMPILED_FROM[0] and can_run_in(image, gradient):
            of_kernel = depthwise_of_kernel(_pixels(gradient), _pixels(image), *kernel.shape[2:], dilation)
        elif needed[1] and dilation == 1:
            of_kernel = _correlated(image, gradient, kernel.shape[2])
        elif needed[1]:
            pads, steps = [dilation * (kernel.shape[2] // 2)] * 2, [dilation] * 2
            gradients = torch.ops.aten.convolution_backward(
                gradient, image, kernel, None, [1, 1], pads, steps, False, [0, 0], len(kernel), [False, True, False]
            )
            of_kernel = gradients[1]
        if needed[2]:
            of_bias = gradient.sum((0, 2, 3))
        return of_image, of_kernel, of_bias, None


def _convolved(image: Tensor, kernel: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
    """(B, C, H, W) and (C, 1, K, K) -> (B, C, H, W), channels last in memory."""
    image = _channels_last(image)
    if _is_faster_compiled(image, kernel, dilation) and can_run_in(image, kernel):
        y: Tensor = depthwise(_pixels(image), kernel, bias, dilation, False)
        return y.permute(0, 3, 1, 2)
    if dilation > 1:
        span = dilation * (kernel.shape[2] - 1) + 1
        if span <= _fast_span(image):
            return _plain(image, kernel, bias, dilation)
        # zeros between the taps
        apart = F.pad(kernel[:, :, :, None, :, None], (0, dilation - 1, 0, 0, 0, dilation - 1))
        kernel = apart.flatten(4, 5).flatten(2, 3)[:, :, :span, :span]
    if image.dtype == torch.float64:
        return _by_spectra(image, kernel, bias)
    # taps further out find nothing on this map
    surplus = max(0, kernel.shape[2] // 2 - (max(image.shape[2:]) - 1))
    kernel = kernel[:, :, surplus : kernel.shape[2] - surplus, surplus : kernel.shape[2] - surplus]
    if kernel.shape[2] == SLOW:
        kernel = F.pad(kernel, 4 * ((FAST - SLOW) // 2,))
    return _plain(image, kernel, bias, 1)


def _is_faster_compiled(image: Tensor, kernel: Tensor, dilation: int) -> bool:
    """Whether the forward pass is: in float64, and of wide kernels; with vectors of 512 bits not where oneDNN leaves
    out the zeros between their taps, meets a small map, or has kernels of its fast sides."""
    if image.dtype == torch.float64:
        return True
    span = dilation * (kernel.shape[2] - 1) + 1
    by_onednn = span <= _fast_span(image) if dilation > 1 else max(image.shape[2:]) < WIDE or span >= FAST
    return span >= COMPILED_FROM[1] and not (by_onednn and HAS_AVX512)


def _fast_span(image: Tensor) -> int:
    """How far a dilated kernel may span on oneDNN's fast path; with vectors of 512 bits it may reach over the map."""
    side = min(image.shape[2:])
    if HAS_AVX512:
        return min(SPAN, 2 * side + 1)
    return SPAN if side >= WIDE else SPAN_ON_SMALL


def _by_spectra(image: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    """The same as a product of spectra, on a map so large that the kernel does not reach around it."""
    (height, width), radius = image.shape[2:], kernel.shape[2] // 2
    down, across = min(radius, height - 1), min(radius, width - 1)  # taps further out find nothing on this map
    larger = (_smooth(height + 2 * down), _smooth(width + 2 * across))
    crop = kernel[:, 0, radius - down : radius + down + 1, radius - across : radius + across + 1]
    spectrum = torch.fft.rfft2(crop.flip(1, 2), s=larger)
    y: Tensor = torch.fft.irfft2(torch.fft.rfft2(image, s=larger) * spectrum, s=larger)
    y = y[:, :, down : down + height, across : across + width]
    y = y if bias is None else y + bias[:, None, None]
    return _channels_last(y)


def _is_worthwhile(x: Tensor, kernel: Tensor) -> bool:
    """Whether a smaller kernel is faster compiled: its gradient, or in float64 and from 9 on all of it."""
    side = kernel.shape[2]
    if side < COMPILED_FROM[0] or x.numel() * side**2 < WORTHWHILE:
        return False
    whole = side >= COMPILED_FROM[1] or x.dtype == torch.float64
    return (whole or needs_gradient(x, kernel)) and can_run_in(x, kernel)


def _pixels(image: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H, W, C)."""
    return image.permute(0, 2, 3, 1)


def _channels_last(image: Tensor) -> Tensor:
    """(B, C, H, W), its channels last in memory: contiguous(memory_format=) is not for vmap."""
    return image.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


def _correlated(image: Tensor, gradient: Tensor, side: int) -> Tensor:
    """The kernel's gradient (C, 1, K, K): for each tap the sum, over images and positions, of the output's gradient
    times what the tap finds there."""
    dtype = image.dtype if image.dtype == torch.float64 else torch.float32  # there is no transform of bfloat16
    (height, width), radius = image.shape[2:], side // 2
    down, across = min(radius, height - 1), min(radius, width - 1)
    larger = (_smooth(height + down), _smooth(width + across))
    found, weight = (torch.fft.rfft2(tensor.to(dtype), s=larger) for tensor in (image, gradient))
    sums = torch.fft.irfft2((found * weight.conj()).sum(0), s=larger)  # C, offset down, offset across, modulo the size
    sums = sums.roll((down, across), (1, 2))[:, : 2 * down + 1, : 2 * across + 1]
    missing = (radius - across, radius - across, radius - down, radius - down)
    return F.pad(sums, missing)[:, None].to(image.dtype)


def _smooth(length: int) -> int:
    """The next length whose transforms have fast algorithms."""
    return next((size for size in SMOOTH if size >= length), length)
