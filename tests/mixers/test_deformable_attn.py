"""Deformable attention: what can be worked out by hand, every option against the reference, small key grids."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from stmbench.checkpoints import load_checkpoint
from stmbench.errors import ConfigError
from stmbench.mixers.base import BlockPosition
from stmbench.mixers.deformable_attn import DeformableAttn, DeformableAttnConfig, config_at
from stmbench.mixers.ops.bilinear import displacement_samples, point_samples
from tests.mixers.forms import check_forms


def built(**options: Any) -> DeformableAttn:
    torch.manual_seed(0)
    module = DeformableAttn(DeformableAttnConfig(**{"dim": 32, "heads": 4, "resolution": (6, 7), **options}))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return module.double().eval()


OPTIONS: tuple[dict[str, Any], ...] = (
    {"groups": 2, "stride": 2},
    {"groups": 4, "stride": 2, "offset_kernel": 5, "range_factor": 3.0},
    {"groups": 1, "stride": 3, "offset_kernel": 3},  # patches: no padding
    {"groups": 2, "stride": 8, "offset_kernel": 9},
    {"groups": 2, "stride": 1, "offset_kernel": 1, "range_factor": 1.0},
)


@pytest.mark.parametrize("size", [(6, 7), (2, 5), (1, 1)])
@pytest.mark.parametrize("options", OPTIONS)
def test_reference_affinity_and_cost_hold_for_every_option(options: dict[str, Any], size: tuple[int, int]) -> None:
    module = built(**options)
    affinity = module.affinity(check_forms(module, size))
    assert torch.allclose(affinity.dense().sum(-1), torch.ones(1, dtype=torch.float64))


def test_one_point_is_the_mean_of_the_middle() -> None:
    """Without offsets the only point of a 2 x 2 map lies in its middle, and all queries attend to it."""
    module = built(stride=8, offset_kernel=9)
    x = torch.randn(1, 2, 2, 32, dtype=torch.float64)
    with torch.no_grad():
        module.offset_proj.weight.zero_()
        value = F.linear(x.mean((1, 2)), module.kv.weight[32:], module.kv.bias[32:])
        assert torch.allclose(module(x), module.proj(value)[:, None, None].expand_as(x), atol=1e-12)


def test_points_stay_on_the_map_unless_there_is_a_range() -> None:
    q = 100 * torch.randn(1, 6, 6, 32, dtype=torch.float64)
    free, bound = built(stride=2), built(stride=2, range_factor=2.0)
    with torch.no_grad():
        assert float(free.points(q).abs().max()) == 1
        bound.offset_proj.weight.zero_()
        start = bound.points(q).view(3, 3, 2)
        # three points, half a step further than the middles of their cells, as the authors have it
        assert torch.allclose(start[0, :, 0], torch.tensor([-0.5, 0.5, 1.5], dtype=torch.float64))
        assert torch.allclose(start[:, 0, 1], torch.tensor([-0.5, 0.5, 1.5], dtype=torch.float64))


def test_point_samples_are_tokens_between_the_first_and_the_last() -> None:
    value = torch.arange(12.0).view(1, 3, 4, 1)
    points = torch.tensor([[-1.0, -1.0], [1.0, 1.0], [0.0, 0.0], [1.0, -1.0], [3.0, 0.0]]).view(1, 1, 5, 2)
    assert point_samples(value, points)[0, :, 0].tolist() == pytest.approx([0, 11, 5.5, 3, 0])


def test_displacements_index_the_table() -> None:
    """At the design size, tokens as points see the entry of their difference."""
    table = torch.arange(35.0).view(1, 5, 7)  # for a map of 3 x 4
    points = torch.tensor([[-1.0, -1.0], [1.0, 1.0]]).view(1, 1, 2, 2)
    samples = displacement_samples(table, points, 3, 4)[0, 0].view(3, 4, 2)
    assert torch.allclose(samples[..., 0], table[0, 2:, 3:], atol=1e-5)  # from the first token: none above or left
    assert torch.allclose(samples[..., 1], table[0, :3, :4], atol=1e-5)
    assert displacement_samples(table, points[:, :, :1] * 0, 1, 1).item() == 17  # the middle


def test_the_authors_names_fit() -> None:
    module = built(groups=2, stride=2)
    theirs = {
        **{f"proj_{name}.weight": torch.randn(32, 32, 1, 1) for name in ("q", "k", "v", "out")},
        **{f"proj_{name}.bias": torch.randn(32) for name in ("q", "k", "v", "out")},
        "conv_offset.0.weight": torch.randn(16, 1, 3, 3),
        "conv_offset.0.bias": torch.randn(16),
        "conv_offset.1.norm.weight": torch.randn(16),
        "conv_offset.1.norm.bias": torch.randn(16),
        "conv_offset.3.weight": torch.randn(2, 16, 1, 1),
        "rpe_table": torch.randn(4, 11, 13),
    }
    load_checkpoint(module, theirs)
    assert torch.equal(module.kv.weight[32:].float(), theirs["proj_v.weight"][:, :, 0, 0])
    assert torch.equal(module.offset_conv.weight.float(), theirs["conv_offset.0.weight"])


def test_stages_have_as_many_points() -> None:
    for stage, side in enumerate((56, 28, 14, 7)):
        config = config_at(BlockPosition(stage=stage, block=0, dim=64 * 2**stage, resolution=(side, side)))
        assert config.grid(side, side) == (7, 7)
        assert (config.groups, config.stride, config.offset_kernel) == (2**stage, 8 // 2**stage, 9 - 2 * stage)
    six_heads = config_at(BlockPosition(stage=3, block=0, dim=192, resolution=(7, 7)))
    assert six_heads.groups == 2  # of eight, as many as divide the heads


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"heads": 5}, "heads that divide dim 32, got 5"),
        ({"groups": 3}, "groups that divide the 4 heads, got 3"),
        ({"resolution": (0, 4)}, "a resolution of at least 1 x 1"),
        ({"stride": 0}, "stride >= 1, got 0"),
        ({"offset_kernel": 0}, "offset_kernel >= 1, got 0"),
        ({"range_factor": -1.0}, "range_factor > 0, or None, got -1.0"),
    ],
)
def test_nonsense_is_refused(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        built(**options)


def test_it_compiles_to_one_graph() -> None:
    module = built(groups=2, stride=2)
    x = torch.randn(1, 5, 6, 32, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(torch.compile(module, fullgraph=True, backend="eager")(x), module(x), atol=1e-12)
