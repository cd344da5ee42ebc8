"""Each mixer's fast path against its slow reference, and the details that a port misses easily."""

from __future__ import annotations

import pytest
import torch

from stmbench.mixers.base import MIXERS, BlockPosition, Mixer

SIZES = ((14, 14), (7, 7), (9, 16), (3, 20), (1, 1), (15, 8))
NAMES = ("halo_attn", "sr_attn", "sw_attn", "dw_conv", "dcnv3")
OPTIONS = {
    "halo_attn": ({}, {"variant": "switch"}, {"variant": "1px"}, {"variant": "shift"}, {"window": 4, "halo": 2}),
    "sr_attn": ({}, {"ratios": (3, 2, 1, 1)}),
    "sw_attn": ({}, {"window": 4}),
    "dw_conv": ({}, {"kernel": 3}),
    "dcnv3": ({}, {"group_dim": 32}),
}
CASES = [(name, options, block) for name in NAMES for options in OPTIONS[name] for block in (0, 1)]


def mixer(name: str, block: int = 0, stage: int = 0, **options: object) -> Mixer:
    """A mixer of 64 channels with parameters large enough that every term matters."""
    torch.manual_seed(0)
    position = BlockPosition(stage=stage, block=block, dim=64, resolution=(14, 14))
    module = MIXERS.get(name).build(position, **options).double().eval()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    assert isinstance(module, Mixer)
    return module


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("name", "options", "block"), CASES)
def test_fast_path_equals_the_reference(
    name: str, options: dict[str, object], block: int, size: tuple[int, int]
) -> None:
    module, x = mixer(name, block, **options), torch.randn(2, *size, 64, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(module(x), module.reference(x), rtol=1e-9, atol=1e-9)
    # with gradients other kernels are taken
    assert torch.allclose(module(x), module.reference(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "parameter", "rows"), [("sw_attn", "qkv.bias", (64, 128)), ("sr_attn", "kv.bias", (0, 64))]
)
def test_key_biases_have_no_gradient(name: str, parameter: str, rows: tuple[int, int]) -> None:
    module = mixer(name)
    module(torch.randn(2, 14, 14, 64, dtype=torch.float64)).square().sum().backward()
    gradient = module.get_parameter(parameter).grad
    assert gradient is not None
    keys = torch.zeros(len(gradient), dtype=torch.bool)
    keys[slice(*rows)] = True
    assert gradient[keys].abs().max() < 1e-9 * gradient[~keys].abs().max()
    assert MIXERS.get(name).zero_gradient[0].parameter == parameter


def test_halo_bias_rows_beyond_all_offsets_have_no_gradient() -> None:
    module = mixer("halo_attn")
    module(torch.randn(1, 14, 14, 64, dtype=torch.float64)).square().sum().backward()
    for name in ("height_rel", "width_rel"):
        gradient = module.get_parameter(name).grad
        assert gradient is not None
        assert torch.all(gradient[:6] == 0)
        assert torch.all(gradient[6:].abs().sum(dim=1) > 0)


def test_shift_is_off_where_one_window_holds_the_map() -> None:
    plain, shifted = mixer("sw_attn", block=0), mixer("sw_attn", block=1)
    for size, same in (((7, 7), True), ((5, 20), True), ((8, 14), False)):
        x = torch.randn(1, *size, 64, dtype=torch.float64)
        assert torch.allclose(plain(x), shifted(x)) == same, size


def test_deformable_base_grid_is_transposed() -> None:
    """Point k = 3 i + j starts at (x, y) = (i - 1, j - 1): with zero offsets, point 1 looks one token to the left."""
    module = mixer("dcnv3")
    torch.nn.init.zeros_(module.get_parameter("offsets.weight"))
    torch.nn.init.zeros_(module.get_parameter("offsets.bias"))
    places, weights = module.points(torch.randn(1, 5, 6, 64, dtype=torch.float64))  # type: ignore[operator]
    assert places[0, 2, 3, 0, 1].tolist() == [2.0, 2.0]
    assert places[0, 2, 3, 0, 3].tolist() == [3.0, 1.0]
    assert torch.allclose(weights.sum(dim=-1), torch.ones(1, dtype=torch.float64))
