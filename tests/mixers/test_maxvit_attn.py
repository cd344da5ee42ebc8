"""MaxViT's attention: the authors' outputs in both layouts, timm's module, and who belongs to a group."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from timm.models.maxxvit import MaxxVitTransformerCfg, PartitionAttentionCl

from stmbench.checkpoints import load_checkpoint
from stmbench.errors import ConfigError
from stmbench.mixers.base import MIXERS, BlockPosition
from stmbench.mixers.maxvit_attn import PARTITIONS, MaxvitAttn, MaxvitAttnConfig, Partition, config_at
from stmbench.mixers.ops import windows
from tests.mixers.golden import Shapes, check_golden

TABLE = "attn.rel_pos.relative_position_bias_table"


def _module(partition: Partition, window: tuple[int, int] = (7, 7), dim: int = 64, heads: int = 2) -> MaxvitAttn:
    torch.manual_seed(0)
    config = MaxvitAttnConfig(dim=dim, heads=heads, window=window, partition=partition)
    return MaxvitAttn(config).double().eval()


def _half(height: int, width: int) -> tuple[int, int]:
    """The window of the recorded outputs: 7 x 7 of 14 x 14, 6 x 8 of 12 x 16."""
    return height // 2, width // 2


@pytest.mark.parametrize("partition", PARTITIONS)
@pytest.mark.parametrize("layout", ["rw", "tf"])
def test_the_authors_outputs(partition: Partition, layout: str) -> None:
    def shapes(height: int, width: int) -> Shapes:
        tall, wide = (2 * size - 1 for size in _half(height, width))
        return {TABLE: (tall * wide, 2) if layout == "rw" else (2, tall, wide)}

    check_golden(
        f"maxvit_{partition}_{layout}",
        lambda height, width: _module(partition, _half(height, width)),
        shapes=shapes,
    )


@pytest.mark.parametrize("partition", PARTITIONS)
@pytest.mark.parametrize("layout", [("bias", True), ("bias_tf", False)])
def test_timms_module(partition: Partition, layout: tuple[str, bool]) -> None:
    torch.manual_seed(0)
    cfg = MaxxVitTransformerCfg(
        dim_head=16, rel_pos_type=layout[0], head_first=layout[1], window_size=(3, 4), grid_size=(3, 4)
    )
    theirs = PartitionAttentionCl(32, partition, cfg).double().eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    ours = _module(partition, (3, 4), dim=32)
    load_checkpoint(ours, {key: value for key, value in theirs.state_dict().items() if key.startswith("attn.")})
    x = torch.randn(2, 9, 8, 32, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(ours(x), theirs._partition_attn(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("partition", PARTITIONS)
@pytest.mark.parametrize("size", [(5, 11), (1, 1), (6, 2)])
def test_any_map_equals_the_reference(partition: Partition, size: tuple[int, int]) -> None:
    module = _module(partition, (3, 4), dim=8)
    x = torch.randn(2, *size, 8, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(module(x), module.reference(x), rtol=0, atol=1e-12)
        padded = F.pad(x, (0, 0, 0, -size[1] % 4, 0, -size[0] % 3))
        assert torch.allclose(module(x), module(padded)[:, : size[0], : size[1]], rtol=0, atol=1e-12)


def test_a_window_is_near_and_a_grid_is_everywhere() -> None:
    x = torch.randn(1, 4, 6, 64, dtype=torch.float64)
    seen = {}
    for partition in PARTITIONS:
        columns, _ = _module(partition, (2, 3)).affinity(x).entries(torch.tensor([6 * 1 + 4]))  # token (1, 4)
        seen[partition] = columns[0].tolist()
    assert seen == {"block": [3, 4, 5, 9, 10, 11], "grid": [6, 8, 10, 18, 20, 22]}


def test_blocks_take_turns() -> None:
    positions = [BlockPosition(stage=1, block=block, dim=64, resolution=(28, 28)) for block in range(3)]
    assert [config_at(position).partition for position in positions] == ["block", "grid", "block"]


@pytest.mark.parametrize(
    ("options", "message"), [({"window": 0}, "window >= 1"), ({"head_dim": 48}, "dim 64 divisible by head_dim")]
)
def test_options_that_are_refused(options: dict[str, Any], message: str) -> None:
    position = BlockPosition(stage=0, block=0, dim=64, resolution=(56, 56))
    with pytest.raises(ConfigError, match=message):
        MIXERS.get("maxvit_attn").build(position, **options)


def test_a_bias_that_learns_gives_the_same_as_fused_attention() -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 5, 2, 9, 4, dtype=torch.float64).unbind(0)
    bias = torch.randn(1, 2, 9, 9, dtype=torch.float64, requires_grad=True)
    written_out = windows.window_attention(q, k, v, bias)
    fused = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    assert torch.allclose(written_out, fused, rtol=0, atol=1e-12)
    gradients = [torch.autograd.grad(y.square().sum(), bias)[0] for y in (written_out, fused)]
    assert torch.allclose(*gradients, rtol=0, atol=1e-11)


@pytest.mark.parametrize("partition", PARTITIONS)
def test_it_compiles_to_one_graph(partition: Partition) -> None:
    module = _module(partition, (2, 3), dim=8).float()
    x = torch.randn(1, 5, 6, 8)
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    with torch.no_grad():
        assert torch.equal(compiled(x), module(x))
