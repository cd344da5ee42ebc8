"""Outlook attention: timm's module on the same weights, and the stencil that sums the windows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from timm.models.volo import OutlookAttention

from stmbench.checkpoints import load_checkpoint
from stmbench.errors import ConfigError
from stmbench.mixers.outlook_attn import OutlookAttn, OutlookAttnConfig, contracted_windows

# heads, kernel, stride, bias of the values
CASES = [(2, 3, 1, False), (4, 3, 2, True), (2, 5, 3, False), (1, 1, 1, True)]


@pytest.mark.parametrize("size", [(8, 8), (5, 7), (1, 1)])
@pytest.mark.parametrize(("heads", "kernel", "stride", "bias"), CASES)
def test_outputs_are_timms(heads: int, kernel: int, stride: int, bias: bool, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    theirs = OutlookAttention(
        32, heads, kernel_size=kernel, padding=kernel // 2, stride=stride, qkv_bias=bias, dtype=torch.float64
    )
    ours = OutlookAttn(OutlookAttnConfig(dim=32, heads=heads, kernel=kernel, stride=stride, value_bias=bias)).double()
    load_checkpoint(ours, theirs.state_dict())
    x = 3 * torch.randn(2, *size, 32, dtype=torch.float64)
    expected = theirs(x)
    assert torch.allclose(ours(x), expected, atol=1e-12)
    with torch.no_grad():
        assert torch.allclose(ours(x), expected, atol=1e-12)
        assert torch.allclose(ours.reference(x), expected, atol=1e-12)
        plain = contracted_windows(ours.value(x), ours._windows(x), ours.config)
        assert torch.allclose(ours.proj(plain), expected, atol=1e-12)
        assert torch.allclose(ours.project(ours.affinity(x).apply(ours.values(x)), *size), expected, atol=1e-12)


def test_gradients_are_timms() -> None:
    torch.manual_seed(0)
    theirs = OutlookAttention(32, 2, stride=2, dtype=torch.float64)
    ours = OutlookAttn(OutlookAttnConfig(dim=32, heads=2, stride=2)).double()
    load_checkpoint(ours, theirs.state_dict())
    x = torch.randn(2, 5, 6, 32, dtype=torch.float64)
    gradients = []
    for module in (theirs, ours):
        image = x.clone().requires_grad_()
        module(image).sin().sum().backward()
        gradients.append([image.grad, *(parameter.grad for parameter in module.parameters())])
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"heads": 5}, "heads that divide dim 32, got 5"),
        ({"heads": 2, "kernel": 2}, "an odd kernel >= 1, got 2"),
        ({"heads": 2, "kernel": 101}, r"a kernel <= 45 \(a layer from 32 channels makes kernel\^4 .*, got 101"),
        ({"heads": 2, "stride": 4}, "1 <= stride <= kernel 3, got 4"),
    ],
)
def test_nonsense_is_refused(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        OutlookAttnConfig(dim=32, **options)


def test_it_compiles_to_one_graph() -> None:
    module = OutlookAttn(OutlookAttnConfig(dim=32, heads=2, stride=2)).eval()
    x = torch.randn(1, 5, 6, 32)
    with torch.no_grad():
        assert torch.allclose(torch.compile(module, fullgraph=True, backend="eager")(x), module(x), atol=1e-5)
