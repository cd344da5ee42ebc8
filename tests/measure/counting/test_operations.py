"""Single operations, each with a cost that can be worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stmbench.measure.counting import count
from tests.measure.counting.operations import Operation

Function = Callable[[Tensor], Tensor]
W = torch.zeros


def ones(x: Tensor, *shape: int) -> Tensor:
    return torch.ones(shape, dtype=x.dtype, device=x.device)


CONVOLUTIONS = {
    "dense": (nn.Conv2d(4, 6, 3, padding=1), (4, 5, 7), 6 * 5 * 7 * 4 * 9),
    "strided, no padding": (nn.Conv2d(4, 6, 3, stride=2), (4, 9, 11), 6 * 4 * 5 * 4 * 9),
    "depthwise": (nn.Conv2d(8, 8, 7, padding=3, groups=8), (8, 6, 6), 8 * 36 * 49),
    "grouped": (nn.Conv2d(8, 12, 3, padding=1, groups=4), (8, 6, 6), 12 * 36 * 2 * 9),
    "dilated": (nn.Conv2d(2, 3, 3, dilation=2), (2, 9, 9), 3 * 25 * 2 * 9),
    "padding 'same'": (nn.Conv2d(2, 3, (3, 5), padding="same"), (2, 6, 7), 3 * 42 * 2 * 15),
    "padding 'same', even kernel": (nn.Conv2d(2, 3, 4, padding="same"), (2, 6, 7), 3 * 42 * 2 * 16),
    "padding 'valid'": (nn.Conv2d(2, 3, 3, padding="valid"), (2, 6, 7), 3 * 20 * 2 * 9),
    "1-D": (nn.Conv1d(3, 5, 3, padding=1), (3, 10), 5 * 10 * 3 * 3),
    "3-D": (nn.Conv3d(2, 3, 3, padding=1), (2, 4, 5, 6), 3 * 120 * 2 * 27),
    "transposed": (nn.ConvTranspose2d(4, 6, 2, stride=2), (4, 5, 5), 4 * 25 * 6 * 4),
    "transposed, grouped": (nn.ConvTranspose2d(4, 6, 3, groups=2), (4, 5, 5), 4 * 25 * 3 * 9),
}


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolution(case: str) -> None:
    module, size, expected = CONVOLUTIONS[case]
    counted = count(module, size)
    assert dict(counted.total.kinds) == {"conv": expected}
    assert counted.activations == module(torch.zeros(1, *size)).numel()
    assert counted.traced_on == "meta"


PRODUCTS: dict[str, tuple[Function, tuple[int, ...], dict[str, int]]] = {
    "linear": (lambda x: F.linear(x, ones(x, 5, 8)), (3, 4, 8), {"linear": 3 * 4 * 8 * 5}),
    "addmm": (lambda x: torch.addmm(ones(x, 5), x[0], ones(x, 8, 5)), (4, 8), {"linear": 4 * 8 * 5}),
    "mm": (lambda x: x[0] @ x[0].T, (4, 8), {"matmul": 4 * 8 * 4}),
    "bmm": (lambda x: torch.bmm(x[0], x[0].transpose(1, 2)), (3, 4, 8), {"matmul": 3 * 4 * 8 * 4}),
    "baddbmm": (lambda x: torch.baddbmm(ones(x, 3, 4, 4), x[0], x[0].mT), (3, 4, 8), {"matmul": 3 * 4 * 8 * 4}),
    "addbmm": (lambda x: torch.addbmm(ones(x, 4, 4), x[0], x[0].mT), (3, 4, 8), {"matmul": 3 * 4 * 8 * 4}),
    "matmul broadcasts": (lambda x: ones(x, 6, 1, 5, 8) @ x[0].mT, (3, 4, 8), {"matmul": 6 * 3 * 5 * 8 * 4}),
    "matrix by vector": (lambda x: x @ ones(x, 8), (4, 8), {"matmul": 4 * 8}),
    "mv": (lambda x: torch.mv(x[0], ones(x, 8)), (4, 8), {"matmul": 4 * 8}),
    "dot": (lambda x: torch.dot(x[0], x[0]), (8,), {"matmul": 8}),
    "tensordot": (
        lambda x: torch.tensordot(x[0], ones(x, 4, 8, 5), dims=([1, 2], [0, 1])),
        (3, 4, 8),
        {"matmul": 3 * 4 * 8 * 5},
    ),
    "bilinear": (lambda x: F.bilinear(x, x, ones(x, 5, 8, 8)), (8,), {"linear": 5 * 8 * 8 + 5 * 8}),
    "einsum": (lambda x: torch.einsum("bnd,bmd->bnm", x, x), (4, 8), {"matmul": 4 * 4 * 8}),
    "product, then sum": (lambda x: (x * ones(x, 4, 8)).sum(-1), (4, 8), {"matmul": 32}),
    "product, view, sum": (lambda x: (x * ones(x, 4, 8)).view(1, 2, 2, 8).sum((1, 2)), (4, 8), {"matmul": 32}),
    "scaled, then sum": (lambda x: (x * 2).sum(-1), (4, 8), {}),
    "elementwise": (lambda x: (x * x + x - x / 2) ** 2, (4, 8), {}),
    "sum": (lambda x: x.sum(-1), (4, 8), {}),
}


@pytest.mark.parametrize("case", PRODUCTS)
def test_matrix_product(case: str) -> None:
    function, size, expected = PRODUCTS[case]
    counted = count(Operation(function), size)
    assert dict(counted.total.kinds) == expected
    assert counted.traced_on == "meta"


def _attention_by_hand(x: Tensor) -> Tensor:
    q, k, v = x[:, 0], x[:, 1, :, :5], x[:, 2, :, :5]
    return (q @ k.mT).softmax(-1) @ v


ATTENTION: dict[str, Function] = {
    "fused": lambda x: F.scaled_dot_product_attention(x[:, 0], x[:, 1, :, :5], x[:, 2, :, :5]),
    "fused with a bias": lambda x: F.scaled_dot_product_attention(
        x[:, 0], x[:, 1, :, :5], x[:, 2, :, :5], attn_mask=ones(x, 2, 7, 5)
    ),
    "matrix products": _attention_by_hand,
    "einsum": lambda x: torch.einsum(
        "bhnm,bhmd->bhnd", torch.einsum("bhnd,bhmd->bhnm", x[:, 0], x[:, 1, :, :5]).softmax(-1), x[:, 2, :, :5]
    ),
}


@pytest.mark.parametrize("case", ATTENTION)
def test_attention_costs_the_same_fused_or_not(case: str) -> None:
    counted = count(Operation(ATTENTION[case]), (3, 2, 7, 8))  # 2 heads, 7 queries, 5 keys, depth 8
    assert dict(counted.total.kinds) == {"matmul": 2 * 2 * 7 * 5 * 8}
    assert counted.activations == 2 * 7 * (5 + 8)


def test_grouped_query_attention_counts_every_query_head() -> None:
    function = Operation(lambda x: F.scaled_dot_product_attention(x[:, :4], x[:, 4:6], x[:, 6:8], enable_gqa=True))
    assert count(function, (8, 7, 16)).macs == 4 * 2 * 7 * 7 * 16


class SelfAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.attention(x, x, x)[0]
        return mixed


def test_multi_head_attention_is_counted_by_operation() -> None:
    counted = count(SelfAttention(), (9, 16))
    assert dict(counted.total.kinds)["matmul"] == 2 * 9 * 9 * 16
    assert counted.macs == 9 * 4 * 16 * 16 + 2 * 9 * 9 * 16


def _samples(x: Tensor, **options: object) -> Tensor:
    return F.grid_sample(x, ones(x, 1, 6, 9, 2), align_corners=False, **options)  # type: ignore[arg-type]


SAMPLING: dict[str, tuple[Function, dict[str, int]]] = {
    "samples": (_samples, {"sampling": 4 * 3 * 54}),
    "nearest": (lambda x: _samples(x, mode="nearest"), {}),
    "bicubic": (lambda x: _samples(x, mode="bicubic"), {"sampling": 16 * 3 * 54}),
    "weighted by einsum": (
        lambda x: torch.einsum("bdnk,bnk->bnd", _samples(x), ones(x, 1, 6, 9)),
        {"sampling": 5 * 3 * 54},
    ),
    "weighted by a matrix product": (
        lambda x: _samples(x).permute(0, 2, 1, 3) @ ones(x, 1, 6, 9, 1),
        {"sampling": 5 * 3 * 54},
    ),
    "weighted elementwise": (lambda x: (_samples(x) * ones(x, 1, 1, 6, 9)).sum(-1), {"sampling": 5 * 3 * 54}),
    "resized": (lambda x: F.interpolate(x, (6, 9), mode="bilinear"), {"interpolation": 4 * 3 * 54}),
    "resized, cubic": (lambda x: F.interpolate(x, (6, 9), mode="bicubic"), {"interpolation": 16 * 3 * 54}),
    "resized, nearest": (lambda x: F.interpolate(x, (6, 9)), {}),
}


@pytest.mark.parametrize("case", SAMPLING)
def test_a_weighted_bilinear_sample_costs_five_a_channel(case: str) -> None:
    function, expected = SAMPLING[case]
    assert dict(count(Operation(function), (3, 5, 5)).total.kinds) == {k: v for k, v in expected.items() if v}


@pytest.mark.parametrize("weighted", [True, False])
def test_deformable_convolution(weighted: bool) -> None:
    from torchvision.ops import deform_conv2d

    def function(x: Tensor) -> Tensor:
        mask = ones(x, 1, 9, 6, 7) if weighted else None
        return deform_conv2d(x, ones(x, 1, 18, 6, 7), ones(x, 8, 4, 3, 3), padding=1, mask=mask)

    counted = count(Operation(function), (4, 6, 7))
    assert dict(counted.total.kinds) == {"sampling": (5 if weighted else 4) * 9 * 4 * 42, "conv": 8 * 4 * 9 * 42}


FOURIER: dict[str, tuple[Function, float]] = {
    "fft2": (lambda x: torch.fft.fft2(x).real, 2.5 * 3 * 64 * 6),
    "fft along one axis": (lambda x: torch.fft.fft(x, dim=-2).real, 2.5 * 3 * 64 * 3),
    "rfft2": (lambda x: torch.fft.rfft2(x).real, 1.25 * 3 * 64 * 6),
    "rfft2 there and back": (lambda x: torch.fft.irfft2(torch.fft.rfft2(x), s=(8, 8)), 2.5 * 3 * 64 * 6),
}


@pytest.mark.parametrize("case", FOURIER)
def test_fourier_transforms_by_their_butterflies(case: str) -> None:
    function, expected = FOURIER[case]
    assert dict(count(Operation(function), (3, 8, 8)).total.kinds) == {"fft": math.floor(expected)}


FREE_OF_MACS: dict[str, tuple[nn.Module, tuple[int, ...], dict[str, int]]] = {
    "LayerNorm": (nn.LayerNorm(8), (4, 8), {"norm": 5 * 32}),
    "LayerNorm, no weights": (nn.LayerNorm(8, elementwise_affine=False), (4, 8), {"norm": 4 * 32}),
    "GroupNorm": (nn.GroupNorm(2, 8), (8, 3, 3), {"norm": 5 * 72}),
    "BatchNorm": (nn.BatchNorm2d(8), (8, 3, 3), {"norm": 2 * 72}),
    "RMSNorm": (nn.RMSNorm(8), (4, 8), {"norm": 4 * 32}),
    "global average pool": (nn.AdaptiveAvgPool2d(1), (8, 3, 3), {"pool": 72}),
    "mean over positions": (Operation(lambda x: x.mean((2, 3))), (8, 3, 3), {"pool": 72}),
    "max pool": (nn.MaxPool2d(2), (8, 4, 4), {}),
    "unfold": (nn.Unfold(3), (8, 4, 4), {}),
    "GELU": (nn.GELU(), (8, 4), {}),
    "softmax": (nn.Softmax(-1), (8, 4), {}),
    "shapes": (Operation(lambda x: torch.cat([x.roll(1, 1), F.pad(x, (1, 1))], 2).flip(1)), (8, 4), {}),
}


@pytest.mark.parametrize("case", FREE_OF_MACS)
def test_elementwise_operations_are_not_macs(case: str) -> None:
    module, size, expected = FREE_OF_MACS[case]
    counted = count(module, size)
    assert counted.macs == 0
    assert dict(counted.total.kinds) == expected
    assert counted.activations == 0


def test_elements_moved_are_inputs_weights_and_outputs() -> None:
    counted = count(nn.Linear(8, 5), (4, 8))
    assert counted.total.elements_moved == 4 * 8 + (8 * 5 + 5) + 4 * 5
    assert counted.total.bytes_moved(2) == 2 * counted.total.elements_moved
    assert counted.total.intensity(4) == 160 / (4 * 97)
    assert count(nn.GELU(), (4, 8)).total.elements_moved == 2 * 32
    assert count(nn.Flatten(), (4, 8)).total.intensity() == 0
