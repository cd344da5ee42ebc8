"""Cross-covariance attention and local patch interaction against the authors' outputs and timm's modules."""

from __future__ import annotations

import pytest
import torch
from timm.models.xcit import LPI, XCA

from stmbench.checkpoints import load_checkpoint
from stmbench.errors import ConfigError
from stmbench.measure.counting import count
from stmbench.mixers.base import MIXERS, BlockPosition
from stmbench.mixers.xca import LocalPatchInteraction, Xca, XcaConfig
from tests.mixers.golden import check_golden


def built(dim: int = 48, heads: int = 3, *, lpi: bool = False) -> Xca:
    """With weights large enough that every term matters."""
    torch.manual_seed(0)
    module = Xca(XcaConfig(dim=dim, heads=heads, lpi=lpi)).double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return module


def test_the_authors_output() -> None:
    check_golden("xca", lambda height, width: Xca(XcaConfig(dim=64, heads=4)))


def test_the_authors_output_of_the_local_patch_interaction() -> None:
    check_golden("xcit_lpi", lambda height, width: LocalPatchInteraction(64))


@pytest.mark.parametrize("size", [(14, 14), (1, 1), (5, 9)])
def test_equal_to_timm_on_the_same_weights(size: tuple[int, int]) -> None:
    """As in a block of timm's: XCA, then LPI, by the names of its state dict."""
    torch.manual_seed(0)
    attention, local = XCA(48, num_heads=3, qkv_bias=True).double().eval(), LPI(48).double().eval()
    with torch.no_grad():
        attention.temperature.uniform_(0.5, 3)
    ours = Xca(XcaConfig(dim=48, heads=3, lpi=True)).double().eval()
    state = {f"attn.{name}": tensor for name, tensor in attention.state_dict().items()}
    state |= {f"local_mp.{name}": tensor for name, tensor in local.state_dict().items()}
    load_checkpoint(ours, state)
    x = torch.randn(2, *size, 48, dtype=torch.float64)
    with torch.no_grad():
        expected = local(attention(x.flatten(1, 2)), *size).view(x.shape)
        assert torch.allclose(ours(x), expected, rtol=1e-11, atol=1e-12)


def test_with_the_local_patch_interaction() -> None:
    module, x = built(lpi=True), torch.randn(2, 7, 10, 48, dtype=torch.float64)
    with torch.no_grad():
        output = module(x)
        assert output.is_contiguous()
        assert torch.allclose(output, module.reference(x), rtol=1e-10, atol=1e-10)
    counts = count(module, (7, 10, 48))
    assert (counts.macs, counts.traced_on) == (module.macs(7, 10), "meta")
    assert module.no_weight_decay() == {"temperature"}


def test_the_order_of_tokens_does_not_matter() -> None:
    """Without the local part: shuffled tokens give the same outputs, shuffled."""
    module, x = built(), torch.randn(1, 4, 6, 48, dtype=torch.float64)
    order = torch.randperm(24)
    with torch.no_grad():
        shuffled = module(x.flatten(1, 2)[:, order].view(x.shape)).flatten(1, 2)
        assert torch.allclose(shuffled, module(x).flatten(1, 2)[:, order], atol=1e-12)


def test_sums_over_many_tokens_do_not_overflow_float16() -> None:
    module, x = built(32, 1).float(), 20 * torch.randn(1, 56, 56, 32)
    with torch.no_grad():
        expected = module(x)
        output = module.half()(x.half()).float()
    assert float((output - expected).norm() / expected.norm()) < 0.01


def test_zeros() -> None:
    module = built()
    with torch.no_grad():
        module.qkv.bias.zero_()
        assert bool(torch.isfinite(module(torch.zeros(1, 3, 3, 48, dtype=torch.float64))).all())


def test_heads_that_do_not_divide() -> None:
    with pytest.raises(ConfigError, match="expected heads that divide dim 48, got 5"):
        XcaConfig(dim=48, heads=5)


def test_one_graph() -> None:
    module = MIXERS.get("xca").build(BlockPosition(stage=0, block=0, dim=32, resolution=(14, 14)), lpi=True).eval()
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    x = torch.randn(2, 9, 7, 32)
    assert torch.allclose(compiled(x), module(x), rtol=1e-5, atol=1e-6)
