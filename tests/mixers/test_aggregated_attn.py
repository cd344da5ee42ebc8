"""Aggregated attention: the authors' state dict, every option against the reference, pooling to unequal cells."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from stmbench.checkpoints import load_checkpoint
from stmbench.errors import ConfigError
from stmbench.mixers.affinity import map_columns, with_cells
from stmbench.mixers.aggregated_attn import AggregatedAttn, AggregatedAttnConfig, config_at
from stmbench.mixers.base import BlockPosition
from stmbench.mixers.ops.attention import DisplacementBias
from tests.mixers.forms import check_forms
from tests.mixers.golden import check_golden


def built(**options: Any) -> AggregatedAttn:
    torch.manual_seed(0)
    module = AggregatedAttn(AggregatedAttnConfig(**{"dim": 32, "heads": 4, **options}))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return module.double().eval()


def test_the_authors_state_dict_fits() -> None:
    check_golden("transnext_agg", lambda height, width: AggregatedAttn(AggregatedAttnConfig(dim=64, heads=4)))


OPTIONS: tuple[dict[str, Any], ...] = (
    {"ratio": 2},
    {"ratio": 4, "window": 5, "design": (9, 4), "bias": False},
    {"ratio": 8, "pool": 3},
    {"window": None},
    {"window": 1, "ratio": 1},
)


@pytest.mark.parametrize("size", [(6, 8), (7, 5), (1, 1), (1, 4)])
@pytest.mark.parametrize("options", OPTIONS)
def test_reference_affinity_and_cost_hold_for_every_option(options: dict[str, Any], size: tuple[int, int]) -> None:
    check_forms(built(**options), size)


@pytest.mark.parametrize(("size", "cells"), [((8, 8), (2, 4)), ((7, 9), (3, 4)), ((5, 5), (5, 5)), ((1, 3), (1, 1))])
def test_biases_by_displacement_are_those_of_every_pair(size: tuple[int, int], cells: tuple[int, int]) -> None:
    torch.manual_seed(0)
    module = DisplacementBias(3, hidden=20).double()
    row, column = (torch.arange(length, dtype=torch.float64)[None, None] for length in size)
    down = row.flatten()[:, None] - F.adaptive_avg_pool1d(row, cells[0]).flatten()  # H, cells
    right = column.flatten()[:, None] - F.adaptive_avg_pool1d(column, cells[1]).flatten()
    away = torch.stack(torch.broadcast_tensors(down[:, None, :, None], right[None, :, None, :]), -1)
    scaled = 8 * away / (torch.tensor(size) - 1).clamp(min=1)
    logs = scaled.sign() * (1 + scaled.abs()).log2() / torch.tensor(8.0, dtype=torch.float64).log2()
    expected = module.outer(module.inner(logs).relu()).flatten(0, 1).flatten(1, 2).permute(2, 0, 1)
    assert torch.allclose(module(size, cells, size), expected, atol=1e-12)


def test_the_global_form_takes_the_authors_qkv() -> None:
    """Their last stage: cosine attention over all tokens."""
    module = built(window=None)
    own = {name: value for name, value in module.state_dict().items() if name.startswith("proj")}
    theirs = {
        **own,
        "qkv.weight": torch.randn(96, 32),
        "qkv.bias": torch.randn(96),
        "temperature": torch.randn(4, 1, 1),
        "query_embedding": torch.randn(4, 1, 8),
        "cpb_fc1.weight": torch.randn(512, 2),
        "cpb_fc1.bias": torch.randn(512),
        "cpb_fc2.weight": torch.zeros(4, 512),
        "cpb_fc2.bias": torch.randn(4),
    }
    load_checkpoint(module, theirs)
    x = torch.randn(1, 2, 3, 32, dtype=torch.float64)
    q, k, v = (
        part.view(1, 6, 4, 8).transpose(1, 2)
        for part in F.linear(x, theirs["qkv.weight"].double(), theirs["qkv.bias"].double()).chunk(3, -1)
    )
    scale = F.softplus(theirs["temperature"].double()) * torch.tensor(6.0).double().log()
    logits = (F.normalize(q, dim=-1) + theirs["query_embedding"].double()) * scale @ F.normalize(k, dim=-1).mT
    expected = module.proj((logits.softmax(-1) @ v).transpose(1, 2).reshape(1, 2, 3, 32))
    assert torch.allclose(module(x), expected, atol=1e-12)


def test_distances_in_units_of_the_design_keep_their_bias() -> None:
    fixed, scaled = (built(ratio=2, design=design) for design in ((4, 4), None))
    x = torch.randn(1, 4, 4, 32, dtype=torch.float64)
    larger = torch.randn(1, 8, 8, 32, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(fixed(x), scaled(x), atol=1e-12)
        assert not torch.allclose(fixed(larger), scaled(larger), atol=1e-3)
        small = fixed.cell_bias((4, 4), (2, 2), (4, 4)).view(4, 4, 4, 2, 2)
        large = fixed.cell_bias((8, 8), (4, 4), (4, 4)).view(4, 8, 8, 4, 4)
        assert torch.allclose(large[:, 2:6, 2:6, 1:3, 1:3], small, atol=1e-12)


def test_columns_of_cells_have_their_tokens() -> None:
    columns = with_cells(map_columns(3, 4), (2, 2))
    assert len(columns) == 16
    assert columns.boxes[12:].tolist() == [[0, 0, 2, 2], [0, 2, 2, 4], [1, 0, 3, 2], [1, 2, 3, 4]]
    assert columns.y[12:].tolist() == [0.5, 0.5, 1.5, 1.5]
    assert columns.x[12:].tolist() == [0.5, 2.5, 0.5, 2.5]


def test_stages_have_as_many_cells_and_the_last_has_no_window() -> None:
    for stage, side in enumerate((56, 28, 14, 7)):
        position = BlockPosition(stage=stage, block=0, dim=64, resolution=(side, side))
        config = config_at(position, keep_distances=True)
        assert config.cells(side, side) == (7, 7)
        assert (config.window, config.design) == ((3, 3, 3, None)[stage], (side, side))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"heads": 5}, "heads that divide dim 32, got 5"),
        ({"window": 4}, "an odd window >= 1, or None, got 4"),
        ({"ratio": 0}, "ratio >= 1, got 0"),
        ({"pool": 0}, "pool >= 1, or None, got 0"),
        ({"design": (0, 3)}, "a design of at least 1 x 1, or None"),
    ],
)
def test_nonsense_is_refused(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        built(**options)


def test_it_compiles_to_one_graph() -> None:
    module = built()
    x = torch.randn(1, 5, 6, 32, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(torch.compile(module, fullgraph=True, backend="eager")(x), module(x), atol=1e-12)
