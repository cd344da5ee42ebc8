"""What is particular about each mixer's affinity: masks, seams, padding, footprints, points off the map."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stmbench.errors import InputError
from stmbench.mixers import BUILTIN
from stmbench.mixers.affinity import affinity_of, has_affinity, join_heads, split_into_heads
from stmbench.mixers.base import MIXERS, BlockPosition

FIVE: dict[str, dict[str, Any]] = {
    "halo_attn": {}, "sr_attn": {"head_dim": 32}, "sw_attn": {}, "dw_conv": {}, "dcnv3": {},
}  # fmt: skip


def build(name: str, *, block: int = 1, **options: Any) -> Any:
    torch.manual_seed(0)
    position = BlockPosition(stage=0, block=block, dim=32, resolution=(8, 8))
    mixer = MIXERS.get(name).build(position, **options).double().eval()
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter)).requires_grad_(False)
    return mixer


def images(height: int, width: int, batch: int = 1) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(batch, height, width, 32, dtype=torch.float64)


def row(affinity: Any, y: int, x: int) -> Tensor:
    """(grid) of the first image and head, without a column that has no place."""
    weights: Tensor = affinity.rows(torch.tensor([y * affinity.columns.width + x]))[0, 0, 0]
    rows, columns = affinity.columns.grid
    return weights[: rows * columns].view(rows, columns)


def seen(weights: Tensor) -> tuple[int, int, int, int]:
    """Top, left, bottom, right (half open) of the weights that count."""
    y, x = (weights.abs() > 1e-20).nonzero().unbind(1)
    return int(y.min()), int(x.min()), int(y.max()) + 1, int(x.max()) + 1


def test_halo_columns_are_its_window_and_halo() -> None:
    affinity = build("halo_attn", window=4, halo=2).affinity(images(6, 11))
    assert affinity.columns.grid == (8, 12)
    assert seen(row(affinity, 0, 0)) == (0, 0, 6, 6)
    assert seen(row(affinity, 5, 5)) == (2, 2, 8, 10)  # the two rows below the map are padding, and are seen
    assert seen(row(affinity, 3, 10)) == (0, 6, 6, 12)
    below = build("halo_attn", window=4, halo=1, variant="shift").affinity(images(8, 8))
    assert seen(row(below, 1, 1)) == (0, 0, 6, 6)
    assert seen(row(below, 5, 1)) == (4, 0, 8, 6)


def test_halo_padding_has_weight_and_values_of_zero() -> None:
    mixer = build("halo_attn", window=4, halo=2)
    affinity, values = mixer.affinity(images(6, 11)), mixer.values(images(6, 11))
    padding = affinity.columns.padding
    assert int(padding.sum()) == 8 * 12 - 6 * 11
    assert float(values[:, :, padding].abs().max()) == 0
    assert float(affinity.rows(torch.tensor([5 * 11 + 10]))[..., padding].sum()) > 0.1


def test_shifted_windows_do_not_cross_the_seam() -> None:
    plain, shifted = (build("sw_attn", block=block, window=4).affinity(images(8, 8)) for block in (0, 1))
    assert seen(row(plain, 1, 5)) == (0, 4, 4, 8)
    assert seen(row(shifted, 3, 3)) == (2, 2, 6, 6)
    assert seen(row(shifted, 0, 7)) == (0, 6, 2, 8)  # a corner: the window's other tokens are across the seam
    across = row(shifted, 0, 7).clone()
    across[:2, 6:] = 0
    assert 0 < float(across.max()) < 1e-30


def test_window_padding_carries_the_value_bias() -> None:
    mixer = build("sw_attn", block=0, window=4)
    affinity, values = mixer.affinity(images(6, 5)), mixer.values(images(6, 5))
    padding = affinity.columns.padding
    bias = mixer.qkv.bias[64:].view(1, -1, 1, 32)
    torch.testing.assert_close(values[:, :, padding], bias.expand(-1, -1, int(padding.sum()), -1))
    assert float(affinity.rows(torch.tensor([5 * 5 + 4]))[..., padding].sum()) > 0.5  # 14 of the window's 16 tokens
    assert int((~padding).sum()) == 30


def test_reduced_tokens_are_the_columns_and_have_a_footprint() -> None:
    mixer = build("sr_attn", head_dim=32, ratios=(4, 2, 1, 1))
    affinity = mixer.affinity(images(9, 14))
    assert affinity.shape == (1, 1, 9 * 14, 6)
    assert affinity.columns.boxes.tolist()[-1] == [4, 8, 8, 12]  # the last row and two columns are dropped
    assert mixer.values(images(9, 14)).shape == (1, 1, 6, 32)
    assert mixer.affinity(images(2, 3)).columns.boxes.tolist() == [[0, 0, 2, 3]]


def test_a_depthwise_kernel_is_its_affinity() -> None:
    mixer = build("dw_conv", kernel=3)
    affinity = mixer.affinity(images(5, 6, batch=2))
    assert affinity.shape == (2, 32, 30, 30)
    assert affinity.dynamic is None
    torch.testing.assert_close(row(affinity, 2, 3)[1:4, 2:5], mixer.conv.weight[0, 0])
    torch.testing.assert_close(row(affinity, 0, 0)[:2, :2], mixer.conv.weight[0, 0, 1:, 1:])


def test_points_off_the_map_are_a_column_of_their_own() -> None:
    mixer = build("dcnv3")
    with torch.no_grad():
        mixer.offsets.weight.zero_()
        mixer.offsets.bias.copy_(torch.tensor([2.5, 0.0]).repeat(mixer.config.groups * 9))  # (x, y), for every point
    affinity = mixer.affinity(images(5, 6))
    assert affinity.columns.padding.tolist() == [False] * 30 + [True]
    middle, edge = affinity.rows(torch.tensor([2 * 6 + 1, 2 * 6 + 5]))[0, 0]
    assert float(middle[-1]) == 0
    assert seen(row(affinity, 2, 1)) == (1, 2, 4, 6)  # three columns of points, half way between tokens
    assert float(edge[-1]) == pytest.approx(1.0)
    assert float(mixer.values(images(5, 6))[:, :, -1].abs().max()) == 0


@pytest.mark.parametrize("name", FIVE)
def test_forward_computes_no_affinity(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mixer = build(name, **FIVE[name])
    expected = mixer(images(8, 8))
    for method in ("affinity", "values", "project"):
        monkeypatch.setattr(type(mixer), method, None)
    assert torch.equal(mixer(images(8, 8)), expected)


@pytest.mark.parametrize("name", FIVE)
def test_the_five_have_an_affinity(name: str) -> None:
    assert name in BUILTIN
    mixer = build(name, **FIVE[name])
    assert has_affinity(mixer)
    assert affinity_of(mixer, name).affinity(images(8, 8)).shape[2] == 64


def test_mixer_without_affinity_is_refused() -> None:
    assert not has_affinity(nn.Identity())
    with pytest.raises(InputError, match=r"linear map of its values, got mine, which has no affinity; .*--jacobian"):
        affinity_of(nn.Identity(), "mine")


def test_heads_are_split_and_joined_in_order() -> None:
    x = torch.arange(2 * 3 * 4 * 6.0).view(2, 3, 4, 6)
    split = split_into_heads(x, 3)
    assert split.shape == (2, 3, 12, 2)
    assert torch.equal(split[1, 2, 5], x[1, 1, 1, 4:6])
    assert torch.equal(join_heads(split, 3, 4), x)
