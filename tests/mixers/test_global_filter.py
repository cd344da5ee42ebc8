"""GFNet's global filter against the authors' outputs, and the Fourier transforms of `ops.fourier`."""

from __future__ import annotations

import pytest
import torch

from stmbench.errors import ConfigError
from stmbench.mixers.base import MIXERS, BlockPosition
from stmbench.mixers.global_filter import GlobalFilter, GlobalFilterConfig
from stmbench.mixers.ops.fourier import SMALL, from_spectrum, inverse_reference, spectrum, spectrum_reference
from tests.mixers.golden import check_golden

SIZES = ((14, 14), (12, 16), (9, 7), (1, 1), (1, 6), (5, 1), (SMALL + 1, 4), (3, SMALL + 2))


def test_the_authors_output() -> None:
    check_golden(
        "gfnet",
        lambda height, width: GlobalFilter(GlobalFilterConfig(dim=64, resolution=(height, width))),
        shapes=lambda height, width: {"complex_weight": (height, width // 2 + 1, 64, 2)},
    )


@pytest.mark.parametrize("size", SIZES)
def test_transforms(size: tuple[int, int]) -> None:
    """By products (small maps) and by the library: both as the sums say."""
    x = torch.randn(2, *size, 3, dtype=torch.float64)
    expected = torch.fft.rfft2(x, dim=(1, 2), norm="ortho")
    assert torch.allclose(spectrum(x), expected, atol=1e-12)
    assert torch.allclose(spectrum_reference(x), expected, atol=1e-12)
    # any coefficients, not only those of a real map
    coefficients = torch.randn_like(expected)
    back = torch.fft.irfft2(coefficients, s=size, dim=(1, 2), norm="ortho")
    assert torch.allclose(from_spectrum(coefficients, size[1]), back, atol=1e-12)
    # sums agree where the columns that are their own conjugates are those of a real map
    real = spectrum(back) + expected
    assert torch.allclose(inverse_reference(real, size[1]), x + back, atol=1e-12)
    assert from_spectrum(real, size[1]).is_contiguous()


@pytest.mark.parametrize("side", [14, SMALL + 4])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_is_transformed_in_float32(side: int, dtype: torch.dtype, autocast: bool) -> None:
    torch.manual_seed(0)
    module = GlobalFilter(GlobalFilterConfig(dim=8, resolution=(side, side))).to(dtype)
    x = torch.randn(1, side, side, 8).to(dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        output = module(x)
    assert output.dtype == dtype
    expected = module.float()(x.float())
    assert torch.equal(output, expected.to(dtype))


def test_it_is_a_circular_convolution() -> None:
    """One impulse gives the kernel, moved there and around the borders."""
    module = GlobalFilter(GlobalFilterConfig(dim=2, resolution=(4, 5))).double()
    x = torch.zeros(1, 4, 5, 2, dtype=torch.float64)
    x[0, 0, 0] = 1
    with torch.no_grad():
        kernel = module(x)
        assert torch.allclose(module(x.roll((3, 2), (1, 2))), kernel.roll((3, 2), (1, 2)), atol=1e-12)


def test_other_sizes_are_resized_or_refused() -> None:
    module = GlobalFilter(GlobalFilterConfig(dim=4, resolution=(8, 8), resize=False))
    with pytest.raises(ConfigError, match=r"expected a map of 8x8, .* got 8x9.* img_size="):
        module(torch.randn(1, 8, 9, 4))
    resizing = GlobalFilter(GlobalFilterConfig(dim=4, resolution=(8, 8)))
    resizing.load_state_dict(module.state_dict())
    x = torch.randn(1, 8, 8, 4)
    assert torch.equal(resizing(x), module(x))
    # a constant filter is the same one at any size
    with torch.no_grad():
        resizing.filter[..., 0], resizing.filter[..., 1] = 0.5, 0
        x = torch.randn(1, 11, 6, 4)
        assert torch.allclose(resizing(x), x / 2, atol=1e-6)


def test_a_resolution_that_does_not_exist() -> None:
    with pytest.raises(ConfigError, match="expected a resolution of at least 1 x 1"):
        GlobalFilterConfig(dim=4, resolution=(0, 4))


def test_one_graph() -> None:
    module = MIXERS.get("global_filter").build(BlockPosition(stage=0, block=0, dim=32, resolution=(14, 14)))
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    for size in ((14, 14), (9, 7)):
        x = torch.randn(2, *size, 32)
        assert torch.allclose(compiled(x), module(x), rtol=1e-5, atol=1e-6)
