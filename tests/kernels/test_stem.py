"""The start of a stem in one pass: what its parts give, and where it leaves them alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from stmbench.architectures.layers import Stem
from stmbench.kernels import setting
from stmbench.kernels.library import VARIABLE
from tests.kernels import needs_kernels, require_same_by_default_dtype, require_same_with_threads

pytestmark = needs_kernels


def built(channels: int = 3, dim: int = 48) -> Stem:
    """Whose weights all count."""
    torch.manual_seed(0)
    stem = Stem(channels, dim).requires_grad_(False)
    for parameter in stem.parameters():
        nn.init.normal_(parameter, std=0.5)
    return stem


def image(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 2 + 1


def runs(stem: Stem, x: Tensor) -> bool:
    with setting.counted() as calls:
        stem(x)
    return calls["stem"] == 1


# odd and even sides, one pixel; channels of the map in whole vectors, in three and more, and in parts
@pytest.mark.parametrize("size", [(2, 33, 35), (1, 1, 1), (3, 2, 7), (2, 16, 8)])
@pytest.mark.parametrize(("channels", "dim"), [(3, 96), (1, 10), (4, 64), (3, 130), (2, 16), (3, 144)])
def test_it_gives_what_its_parts_give(
    size: tuple[int, int, int], channels: int, dim: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stem, x = built(channels, dim), image(size[0], channels, *size[1:])
    assert runs(stem, x)
    found = stem._start(x)
    monkeypatch.setenv(VARIABLE, "off")
    assert not runs(stem, x)
    expected = stem.double()._start(x.double())
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


ORDERS: dict[str, Callable[[Tensor], Tensor]] = {
    "channels last": lambda x: x.to(memory_format=torch.channels_last),
    "turned": lambda x: x.transpose(2, 3),
    "every other": lambda x: x[:, :, ::2, ::2],
    "one channel for all": lambda x: x[:, :1].expand(-1, 3, -1, -1),
}


@pytest.mark.parametrize("order", ORDERS)
def test_the_image_may_lie_in_any_order(order: str) -> None:
    stem, x = built(), ORDERS[order](image(2, 3, 20, 22))
    assert runs(stem, x)
    torch.testing.assert_close(stem(x), stem(x.clone(memory_format=torch.contiguous_format)), rtol=0, atol=0)


def test_threads_and_default_dtype_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stem, x = built(), image(3, 3, 21, 23)
    require_same_by_default_dtype(stem, x, stem(x))
    require_same_with_threads(stem, x, 3, monkeypatch)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_pixel_that_is_no_number_stays_where_it_is(bad: float) -> None:
    stem, x = built(), image(1, 3, 32, 32)
    x[0, 1, 10, 11] = bad
    y = stem._start(x)
    assert y[0, 5, 5].isnan().all()
    assert y.isnan().any(3).sum() == 2  # (10, 11) lies under the taps of rows 5 and columns 5 and 6
    assert y[0, 5, 6].isnan().all()


CHANGES: dict[str, Callable[[Stem], object]] = {
    "gradient": lambda stem: stem.requires_grad_(),
    "float64": lambda stem: stem.double(),
    "stride": lambda stem: setattr(stem.conv1, "stride", (1, 1)),
    "padding": lambda stem: setattr(stem.conv1, "padding_mode", "reflect"),
    "no bias": lambda stem: setattr(stem.conv1, "bias", None),
    "norm replaced": lambda stem: setattr(stem, "norm1", nn.Identity()),
    "convolution replaced": lambda stem: setattr(stem, "conv1", nn.Sequential(stem.conv1)),
    "watched": lambda stem: stem.conv1.register_forward_hook(lambda *_: None),
    "forward replaced": lambda stem: setattr(stem.norm1, "forward", lambda x: x),
}


@pytest.mark.parametrize("change", CHANGES)
def test_it_leaves_a_changed_stem_alone(change: str) -> None:
    stem = built()
    CHANGES[change](stem)
    assert not runs(stem, image(2, 3, 16, 16).to(stem.norm2.weight.dtype))


def test_it_leaves_a_changed_class_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    own = nn.Conv2d.forward
    monkeypatch.setattr(nn.Conv2d, "forward", lambda *given: own(*given).abs())
    assert not runs(built(), image(2, 3, 16, 16))


def test_other_images_are_refused_as_ever() -> None:
    for bad in (image(1, 4, 8, 8), image(1, 3, 0, 8), image(8, 8)):
        with pytest.raises((RuntimeError, IndexError)):
            built()(bad)
    assert built()(image(0, 3, 8, 8)).shape == (0, 2, 2, 48)
