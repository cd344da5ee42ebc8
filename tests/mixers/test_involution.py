"""Involution: the authors' outputs, its two ways of summing, the merged form."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from stmbench.errors import ConfigError
from stmbench.mixers.involution import Involution, InvolutionConfig
from stmbench.mixers.ops.neighbourhood_sums import gathered_group_sums, group_sums, local_sums
from tests.mixers.golden import check_golden


def test_outputs_are_the_authors() -> None:
    check_golden("involution_k7", lambda height, width: Involution(InvolutionConfig(dim=64)))


@pytest.mark.parametrize(
    ("shape", "groups", "side"), [((2, 5, 7, 12), 3, 3), ((1, 1, 1, 4), 1, 7), ((1, 3, 9, 8), 8, 5)]
)
def test_both_sums_agree(shape: tuple[int, ...], groups: int, side: int) -> None:
    torch.manual_seed(0)
    values = torch.randn(shape, dtype=torch.float64)
    weights = torch.randn(*shape[:3], groups, side**2, dtype=torch.float64)
    expected = local_sums(values, weights.permute(4, 0, 1, 2, 3), side, groups)
    assert torch.allclose(gathered_group_sums(values, weights, side), expected, atol=1e-12)
    assert torch.allclose(group_sums(values, weights, side), expected, atol=1e-12)


@pytest.mark.parametrize("which", [(True, True), (True, False), (False, True)])
def test_gradients_of_the_sums_are_autograds(which: tuple[bool, bool]) -> None:
    torch.manual_seed(0)
    values = torch.randn(1, 2, 4, 6, dtype=torch.float64, requires_grad=which[0])
    weights = torch.randn(1, 2, 4, 3, 9, dtype=torch.float64, requires_grad=which[1])
    assert torch.autograd.gradcheck(lambda v, w: group_sums(v, w, 3), (values, weights))


def test_gathers_of_half_precision_add_up_in_single_precision() -> None:
    values, weights = torch.ones(1, 4, 4, 2, dtype=torch.bfloat16), torch.full((1, 4, 4, 1, 49), 0.01).bfloat16()
    sums = group_sums(values, weights, 7)
    assert sums.dtype == torch.bfloat16
    assert torch.equal(sums[0, 0, 0, 0], (16 * weights[0, 0, 0, 0, 0].float()).bfloat16())


def test_kernels_that_do_not_depend_on_the_input_are_a_convolution() -> None:
    module = Involution(InvolutionConfig(dim=32, kernel=3)).double().eval()
    x = torch.randn(2, 4, 6, 32, dtype=torch.float64)
    with torch.no_grad():
        module.expand.weight.zero_()
        kernel = module.expand.bias.view(2, 1, 3, 3).repeat_interleave(16, 0)
        expected = F.conv2d(x.permute(0, 3, 1, 2), kernel, padding=1, groups=32).permute(0, 2, 3, 1)
        assert torch.allclose(module(x), expected)


def test_the_merged_form_has_no_norm_and_the_same_outputs() -> None:
    module = Involution(InvolutionConfig(dim=32)).double()
    x = torch.randn(2, 5, 6, 32, dtype=torch.float64)
    module(x)  # other statistics than 0 and 1
    merged = module.eval().merge().eval()
    with torch.no_grad():
        assert torch.allclose(merged(x), module(x), atol=1e-12)
    assert not [m for m in merged.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert torch.equal(merged.merge().reduce.weight, merged.reduce.weight)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"kernel": 4}, "an odd kernel >= 1, got 4"),
        ({"group_dim": 5}, "a group_dim that divides dim 32, got 5"),
        ({"reduction": 0}, "a reduction that divides dim 32, got 0"),
    ],
)
def test_nonsense_is_refused(options: dict[str, int], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        InvolutionConfig(dim=32, **options)


def test_it_compiles_to_one_graph() -> None:
    module = Involution(InvolutionConfig(dim=32)).eval()
    x = torch.randn(1, 5, 6, 32)
    with torch.no_grad():
        assert torch.allclose(torch.compile(module, fullgraph=True, backend="eager")(x), module(x), atol=1e-5)
