"""The bidirectional state space model: Mamba's own module in either direction, Vim's names, costs and precision."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from stmbench.checkpoints import load_checkpoint
from stmbench.errors import ConfigError
from stmbench.measure.counting import count
from stmbench.mixers.base import MIXERS, BlockPosition
from stmbench.mixers.bidirectional_ssm import BidirectionalSSM, BidirectionalSSMConfig

CONFIG = BidirectionalSSMConfig(dim=32, d_state=3)


def _published() -> dict[str, Tensor]:
    """A state dict as Vim's module has it, of random numbers."""
    torch.manual_seed(0)
    inner, rank, states = CONFIG.inner, CONFIG.rank, CONFIG.d_state
    shapes: dict[str, tuple[int, ...]] = {"in_proj.weight": (2 * inner, 32), "out_proj.weight": (32, inner)}
    for suffix in ("", "_b"):
        shapes |= {
            f"conv1d{suffix}.weight": (inner, 1, 4), f"conv1d{suffix}.bias": (inner,),
            f"x_proj{suffix}.weight": (rank + 2 * states, inner),
            f"dt_proj{suffix}.weight": (inner, rank), f"dt_proj{suffix}.bias": (inner,),
            f"A{suffix}_log": (inner, states), f"D{suffix}": (inner,),
        }  # fmt: skip
    return {name: torch.randn(shape, dtype=torch.float64) / shape[-1] ** 0.5 for name, shape in shapes.items()}


def _of_direction(state: dict[str, Tensor], suffix: str) -> Any:
    """Mamba's module with the weights of one direction."""
    mamba = pytest.importorskip("transformers.models.mamba.modeling_mamba")
    options = {"hidden_size": 32, "state_size": CONFIG.d_state, "expand": 2, "conv_kernel": 4, "use_bias": False}
    config = mamba.MambaConfig(**options, num_hidden_layers=1, use_conv_bias=True)
    module = mamba.MambaMixer(config, layer_idx=0).double().eval()
    own = {"in_proj.weight": state["in_proj.weight"], "out_proj.weight": state["out_proj.weight"]}
    for name in ("conv1d.weight", "conv1d.bias", "x_proj.weight", "dt_proj.weight", "dt_proj.bias"):
        own[name] = state[name.replace(".", f"{suffix}.")]
    module.load_state_dict({**own, "A_log": state[f"A{suffix}_log"], "D": state[f"D{suffix}"]})
    return module


@pytest.mark.parametrize("divide", [True, False])
def test_it_is_mamba_forwards_and_backwards(divide: bool) -> None:
    state = _published()
    mixer = BidirectionalSSM(BidirectionalSSMConfig(dim=32, d_state=3, divide=divide)).double().eval()
    load_checkpoint(mixer, state)
    x = torch.randn(2, 3, 5, 32, dtype=torch.float64)
    tokens = x.flatten(1, 2)
    with torch.no_grad():
        forwards, backwards = (_of_direction(state, suffix) for suffix in ("", "_b"))
        total = forwards(tokens) + backwards(tokens.flip(1)).flip(1)
        torch.testing.assert_close(mixer(x).flatten(1, 2), total / 2 if divide else total, rtol=0, atol=1e-6)


def test_parameters_and_multiply_adds() -> None:
    mixer = MIXERS.get("bidirectional_ssm").build(BlockPosition(stage=0, block=0, dim=96, resolution=(56, 56)))
    dim, inner, rank, states = 96, 192, 6, 16
    ways = 2 * (5 * inner + inner * (rank + 2 * states) + inner * rank + inner + inner * states + inner)
    assert sum(p.numel() for p in mixer.parameters()) == 3 * dim * inner + ways
    counts = count(mixer, (4, 5, dim))
    per_token = {
        "linear": 3 * dim * inner,
        "conv": 2 * 4 * inner,
        "matmul": 2 * inner * (2 * rank + 2 * states) + 2 * inner * states,
        "recurrence": 2 * inner * states,
    }
    assert dict(counts.total.kinds) == {kind: 20 * number for kind, number in per_token.items()}


def test_each_direction_sees_what_it_has_passed() -> None:
    mixer = BidirectionalSSM(BidirectionalSSMConfig(dim=8, d_state=2)).double().eval()
    dense = mixer.affinity(torch.randn(1, 3, 4, 8, dtype=torch.float64)).dense()
    ahead, back = dense.detach().chunk(2, dim=1)
    assert torch.equal(ahead, ahead.tril())
    assert torch.equal(back, back.triu())
    assert bool((ahead.diagonal(dim1=2, dim2=3) != 0).all())


@pytest.mark.parametrize("kernel", [1, 4])
def test_any_kernel_and_a_single_token_agree_with_the_reference(kernel: int) -> None:
    mixer = BidirectionalSSM(BidirectionalSSMConfig(dim=8, d_state=2, kernel=kernel, expand=1)).double().eval()
    for size in ((1, 1), (2, 3)):
        x = torch.randn(2, *size, 8, dtype=torch.float64)
        torch.testing.assert_close(mixer(x), mixer.reference(x), rtol=0, atol=1e-12)


def test_half_precision_scans_in_float32() -> None:
    torch.manual_seed(0)
    mixer = BidirectionalSSM(BidirectionalSSMConfig(dim=16, d_state=2)).eval()
    x = torch.randn(1, 20, 20, 16)
    expected = mixer(x).detach()
    half = BidirectionalSSM(mixer.config).eval()
    half.load_state_dict(mixer.state_dict())
    y = half.to(torch.float16)(x.half())
    assert y.dtype == torch.float16
    assert float((y.detach().float() - expected).norm() / expected.norm()) < 0.01


def test_it_compiles_to_one_graph() -> None:
    mixer, x = BidirectionalSSM(BidirectionalSSMConfig(dim=16, d_state=2)), torch.randn(1, 5, 7, 16)
    compiled = torch.compile(mixer, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), mixer(x))


@pytest.mark.parametrize("field", ["d_state", "expand", "kernel"])
def test_nonsense_is_refused(field: str) -> None:
    with pytest.raises(ConfigError, match=f"{field} >= 1"):
        BidirectionalSSMConfig(dim=16, **{field: 0})  # type: ignore[arg-type]
