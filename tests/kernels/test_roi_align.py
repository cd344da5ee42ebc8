"""RoIAlign's kernel: torchvision's numbers, numerical derivatives, PyTorch's checks of an operator."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.library import opcheck
from torchvision.ops import roi_align as torchvisions

from stmbench.kernels.roi_align import roi_align
from tests.kernels import needs_kernels

pytestmark = needs_kernels
INF = float("inf")
# image, x1, y1, x2, y2: within the map, across each border, outside, of no size, thin, larger than it, within a cell
REGIONS = [
    (0, 3.2, 4.1, 20.7, 30.3), (2, 0, 0, 40, 24), (1, -9.5, 2, 6, 12), (0, 30, 15, 55, 40), (2, 5, -20, 9, 3),
    (1, -30, -30, -12, -8), (0, 90, 3, 99, 9), (2, 7.5, 7.5, 7.5, 7.5), (0, 10, 3, 10, 20), (1, -50, -50, 120, 130),
    (2, 11.1, 11.2, 11.4, 11.5), (0, 3.2, 4.1, 20.7, 30.3), (1, 40, 24, 40, 24),
]  # fmt: skip


def maps(channels: int, dtype: torch.dtype = torch.float64, images: int = 3) -> list[Tensor]:
    """Two levels of strides 1 and 4, of images of 24 x 40."""
    generator = torch.Generator().manual_seed(0)
    sizes = [(images, channels, 24, 40), (images, channels, 6, 10)]
    return [torch.randn(size, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for size in sizes]


def by_torchvision(
    levels: list[Tensor], regions: Tensor, of: Tensor, side: tuple[int, int], ratio: int, aligned: bool
) -> Tensor:
    cut = levels[0].new_zeros(len(regions), levels[0].shape[1], *side)
    for level, one in enumerate(levels):
        chosen = torch.where(of == level)[0]
        part = torchvisions(one, regions[chosen], side, 0.25**level, ratio, aligned)
        cut = cut.index_put((chosen,), part)
    return cut


def step(cut: Tensor, levels: list[Tensor]) -> list[Tensor]:
    weights = torch.randn(cut.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(cut.dtype)
    return [cut.detach(), *torch.autograd.grad((cut * weights).sum(), levels)]


@pytest.mark.parametrize("ratio", [0, 1, 2, 3])
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize(("channels", "side"), [(1, (28, 28)), (5, (7, 7)), (32, (7, 5)), (72, (2, 3))])
def test_cuts_and_gradients_are_torchvisions(channels: int, side: tuple[int, int], ratio: int, aligned: bool) -> None:
    regions = torch.tensor(REGIONS, dtype=torch.float64)
    of = torch.arange(len(regions)) % 2
    levels = maps(channels)
    theirs = step(by_torchvision(levels, regions, of, side, ratio, aligned), levels)
    for laid in (levels, [each.to(memory_format=torch.channels_last) for each in levels]):
        ours = step(roi_align(laid, regions, of, [1.0, 0.25], *side, ratio, aligned), levels)
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("threads", [1, 3])
def test_single_precision_is_torchvisions_for_any_number_of_threads(threads: int) -> None:
    regions = torch.tensor(REGIONS)
    of = torch.arange(len(regions)) % 2
    levels, before = maps(40, torch.float32), torch.get_num_threads()
    theirs = step(by_torchvision(levels, regions, of, (7, 7), 2, False), levels)
    torch.set_num_threads(threads)
    try:
        ours = step(roi_align(levels, regions, of, [1.0, 0.25], 7, 7, 2, False), levels)
        again = step(roi_align(levels, regions, of, [1.0, 0.25], 7, 7, 2, False), levels)
    finally:
        torch.set_num_threads(before)
    for one, other, third in zip(ours, theirs, again, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
        assert torch.equal(one, third)  # sums are in a fixed order


def test_no_region_gives_nothing_and_no_gradient() -> None:
    levels = maps(4)
    cut = roi_align(levels, torch.zeros(0, 5, dtype=torch.float64), torch.zeros(0).long(), [1.0, 0.25], 7, 7, 2, True)
    assert cut.shape == (0, 4, 7, 7)
    for gradient in torch.autograd.grad(cut.sum(), levels):
        assert (gradient == 0).all()


@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("aligned", [False, True])
def test_regions_that_are_no_numbers_are_zero(ratio: int, aligned: bool) -> None:
    regions = torch.tensor([(0, torch.nan, 1, 5, 5), (1, 1, 1, INF, 5), (2, -INF, 1, INF, 5), (0, 1, 2, 3, 1e30)])
    levels = maps(4, torch.float32)
    cut = roi_align(levels, regions, torch.zeros(4).long(), [1.0, 0.25], 7, 7, ratio, aligned)
    assert (cut == 0).all()
    assert all((gradient == 0).all() for gradient in torch.autograd.grad(cut.sum(), levels))


@pytest.mark.parametrize("ratio", [0, 2])
def test_derivatives_are_the_numerical_ones(ratio: int) -> None:
    generator = torch.Generator().manual_seed(0)
    levels = [torch.randn(2, 2, *side, generator=generator, dtype=torch.float64) for side in ((5, 4), (3, 2))]
    regions = torch.tensor([(0, 0.3, 0.2, 3.1, 4.4), (1, -3, 1, 2, 9), (1, 1, 1, 1, 1)], dtype=torch.float64)

    def cut(*maps: Tensor) -> Tensor:
        return roi_align([*maps], regions, torch.tensor([0, 1, 0]), [1.0, 0.5], 2, 3, ratio, True)

    assert torch.autograd.gradcheck(cut, [each.requires_grad_() for each in levels])


def test_pytorch_accepts_the_operator() -> None:
    regions = torch.tensor(REGIONS)
    opcheck(roi_align, (maps(4, torch.float32), regions, torch.arange(len(regions)) % 2, [1.0, 0.25], 7, 7, 2, False))
