"""Bi-level routing attention: the authors' outputs, the choice of regions, and maps that they do not divide."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from stmbench.checkpoints import load_checkpoint
from stmbench.errors import CheckpointError, ConfigError
from stmbench.mixers import routing_attn
from stmbench.mixers.base import MIXERS, BlockPosition
from stmbench.mixers.routing_attn import RoutingAttn, RoutingAttnConfig, config_at
from tests.mixers.forms import check_forms
from tests.mixers.golden import check_golden


def _module(topk: int | None, regions: int = 7, dim: int = 64) -> RoutingAttn:
    torch.manual_seed(0)
    return RoutingAttn(RoutingAttnConfig(dim=dim, heads=2, topk=topk, regions=regions)).double().eval()


@pytest.mark.parametrize("few", [1, 49])  # copies of the chosen regions; a mask over all
def test_the_authors_outputs(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing_attn, "FEW", few)
    check_golden("bra_top4", lambda height, width: _module(4, 7 if height == 14 else 4))
    check_golden("bra_top16_autopad", lambda height, width: _module(16))


@pytest.mark.parametrize("size", [(5, 11), (1, 1), (6, 9)])
@pytest.mark.parametrize("topk", [1, 4, 9, None])
def test_any_map_equals_the_reference(size: tuple[int, int], topk: int | None) -> None:
    check_forms(_module(topk, 3, dim=8), size)


def test_a_region_attends_to_what_resembles_it() -> None:
    module = _module(1, 2)
    with torch.no_grad():
        module.qkv.weight.zero_()
        module.qkv.bias.zero_()
        module.qkv.weight[:64] = torch.eye(64)  # queries and keys are the input
        module.qkv.weight[64:128] = torch.eye(64)
    x = torch.zeros(1, 4, 6, 64, dtype=torch.float64)
    x[0, :2, :3, 0], x[0, 2:, 3:, 0] = 1, 2  # the first region resembles the last most, as that is longer
    affinity = module.affinity(x).dynamic
    assert affinity is not None
    columns, weights = affinity.entries(torch.tensor([0]))
    assert sorted(columns.flatten()[:6].tolist()) == [15, 16, 17, 21, 22, 23]
    assert torch.allclose(weights, torch.full_like(weights, 1 / 6))


def test_padding_comes_before_the_projection_and_is_seen() -> None:
    module = _module(2, 4, dim=8)
    x = torch.randn(1, 5, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(module(x), module(F.pad(x, (0, 0, 0, 0, 0, 3)))[:, :5], rtol=0, atol=1e-12)


def test_the_choice_of_regions_has_no_gradient_but_attention_has() -> None:
    module = _module(2, 2, dim=8)
    x = torch.randn(1, 4, 4, 8, dtype=torch.float64, requires_grad=True)
    chosen = module._chosen(*module.qkv(module._regions(x)).chunk(3, dim=3)[:2])
    assert not chosen.requires_grad
    assert bool((torch.autograd.grad(module(x).square().sum(), x)[0].abs() > 0).all())


def test_stages_have_as_many_keys() -> None:
    sides = (56, 28, 14, 7)
    positions = [BlockPosition(stage=s, block=0, dim=64, resolution=(side, side)) for s, side in enumerate(sides)]
    assert [config_at(position).topk for position in positions] == [1, 4, 16, None]


def test_the_last_stages_module_is_the_one_that_convolves_values() -> None:
    torch.manual_seed(1)
    theirs = {name: nn.Conv2d(8, width, 1, bias=name == "proj").double() for name, width in (("qkv", 24), ("proj", 8))}
    lepe = nn.Conv2d(8, 8, 5, padding=2, groups=8).double()
    state = nn.ModuleDict({**theirs, "lepe": lepe}).state_dict()
    ours = _module(None, dim=8)
    load_checkpoint(ours, state)
    x = torch.randn(2, 8, 5, 6, dtype=torch.float64)
    q, k, v = theirs["qkv"](x).chunk(3, dim=1)
    heads = (part.unflatten(1, (2, 4)).flatten(3).transpose(2, 3) for part in (q, k, v))
    mixed = F.scaled_dot_product_attention(*heads).transpose(2, 3).flatten(1, 2).view_as(x)
    expected = theirs["proj"](mixed + lepe(v))
    assert torch.allclose(ours(x.permute(0, 2, 3, 1)), expected.permute(0, 2, 3, 1), rtol=0, atol=1e-12)


def test_the_last_stages_module_that_convolves_its_input_is_refused() -> None:
    state = {key: value for key, value in _module(None).state_dict().items() if key != "qkv.bias"}
    with pytest.raises(CheckpointError, match=r"expected weights of BiFormer's nchwAttentionLePE .*, got those of Att"):
        load_checkpoint(_module(None), state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"topks": (50,)}, "topk from 1 to 49 regions"),
        ({"topks": (0,)}, "topk from 1 to 49 regions"),
        ({"regions": 0}, "regions >= 1"),
        ({"head_dim": 48}, "dim 64 divisible by head_dim"),
    ],
)
def test_options_that_are_refused(options: dict[str, Any], message: str) -> None:
    position = BlockPosition(stage=0, block=0, dim=64, resolution=(56, 56))
    with pytest.raises(ConfigError, match=message):
        MIXERS.get("routing_attn").build(position, **options)


@pytest.mark.parametrize("topk", [1, 9])
def test_it_compiles_to_one_graph(topk: int) -> None:
    module = _module(topk, 3, dim=8).float()
    x = torch.randn(2, 5, 6, 8)
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    with torch.no_grad():
        assert torch.equal(compiled(x), module(x))
