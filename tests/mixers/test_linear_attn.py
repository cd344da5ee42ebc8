"""MLLA's linear attention against the authors' outputs, and its behaviour in half precision and at other sizes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from stmbench.checkpoints import load_checkpoint
from stmbench.errors import ConfigError
from stmbench.mixers.base import MIXERS, BlockPosition
from stmbench.mixers.linear_attn import LinearAttn, LinearAttnConfig, rotations
from tests.mixers.golden import check_golden, published_state

BARE = LinearAttnConfig(dim=64, heads=2, gated=False)
WHOLE = LinearAttnConfig(dim=64, heads=2)


@pytest.mark.parametrize(("name", "config"), [("mlla_attn", BARE), ("mlla_mixer", WHOLE)])
def test_the_authors_output(name: str, config: LinearAttnConfig) -> None:
    check_golden(name, lambda height, width: LinearAttn(config))


def test_the_whole_mixer_is_the_bare_attention_between_projections() -> None:
    """out_proj(attn(SiLU(dwc(in_proj(x)))) * SiLU(act_proj(x))), by the authors' names."""
    state = published_state("mlla_mixer")
    whole, bare = LinearAttn(WHOLE).double(), LinearAttn(BARE).double()
    load_checkpoint(whole, state)
    load_checkpoint(bare, {name[5:]: tensor for name, tensor in state.items() if name.startswith("attn.")})

    def linear(name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ state[f"{name}.weight"].mT + state[f"{name}.bias"]

    x = torch.randn(2, 9, 7, 64, dtype=torch.float64)
    inner = F.conv2d(
        linear("in_proj", x).permute(0, 3, 1, 2), state["dwc.weight"], state["dwc.bias"], padding=1, groups=64
    )
    attended = bare(F.silu(inner).permute(0, 2, 3, 1))
    expected = linear("out_proj", attended * F.silu(linear("act_proj", x)))
    with torch.no_grad():
        assert torch.allclose(whole(x), expected, rtol=1e-12, atol=1e-12)


def test_rotations_are_those_of_rows_then_columns() -> None:
    table = rotations(3, 5, 16, dtype=torch.float64, device=torch.device("cpu"))
    assert table.shape == (15, 8, 2)
    token = 2 * 5 + 4  # row 2, column 4
    expected = torch.tensor([2 * 10000 ** (-j / 4) for j in range(4)] + [4 * 10000 ** (-j / 4) for j in range(4)])
    assert torch.allclose(table[token, :, 0], expected.double().cos(), atol=1e-7)
    assert torch.allclose(table[token, :, 1], expected.double().sin(), atol=1e-7)


def test_no_table_is_in_the_state_dict_and_any_size_is_taken() -> None:
    module = LinearAttn(WHOLE).eval()
    names = set(module.state_dict())
    with torch.no_grad():
        for size in ((1, 1), (1, 30), (40, 3)):
            assert module(torch.randn(1, *size, 64)).shape == (1, *size, 64)
    assert set(module.state_dict()) == names
    rotated = {**published_state("mlla_attn"), "rope.rotations": torch.zeros(14, 14, 32, 2)}
    load_checkpoint(LinearAttn(BARE), rotated)  # the authors' file has the table: it is computed instead


def test_small_weights_survive_half_precision() -> None:
    """phi near 0 (keys of -8) would cancel to zero in bfloat16."""
    torch.manual_seed(0)
    module = LinearAttn(BARE).eval()
    with torch.no_grad():
        module.qk.bias.fill_(-8)
        module.qk.weight.mul_(0.5)
        module = module.bfloat16().float()
        x = torch.randn(1, 14, 14, 64).bfloat16()
        expected, output = module(x.float()), module.bfloat16()(x)
    assert float((output.float() - expected).norm() / expected.norm()) < 0.02


@pytest.mark.parametrize(("dim", "heads"), [(64, 3), (64, 64), (6, 1), (64, 0)])
def test_heads_that_do_not_fit(dim: int, heads: int) -> None:
    with pytest.raises(ConfigError, match="expected"):
        LinearAttnConfig(dim=dim, heads=heads)


def test_one_graph() -> None:
    module = MIXERS.get("linear_attn").build(BlockPosition(stage=0, block=0, dim=32, resolution=(14, 14)))
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    x = torch.randn(2, 9, 7, 32)
    assert torch.allclose(compiled(x), module(x), rtol=1e-5, atol=1e-6)
