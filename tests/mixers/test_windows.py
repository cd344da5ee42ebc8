"""Windows of a map: gradients of their copies, and shares of attention that are written out."""

from __future__ import annotations

import pytest
import torch

from stmbench.mixers.ops.windows import _split_heads, split_heads, window_attention
from stmbench.mixers.sw_attn import SEPARATED
from tests.kernels import needs_kernels


@pytest.mark.parametrize("parts", [1, 3])
def test_windows_and_their_gradient_are_autograds(parts: int) -> None:
    found = []
    for form in (split_heads, _split_heads):
        x = torch.randn(2, 6, 9, parts * 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
        split = form(x, 3, parts, 2)
        assert [part.shape for part in split] == [(2, 6, 2, 9, 4)] * parts
        sum((part * factor).sin().sum() for factor, part in enumerate(split, 1)).backward()
        found.append([*split, x.grad])
    for ours, autograds in zip(*found, strict=True):
        torch.testing.assert_close(ours, autograds)


def test_windows_can_be_differentiated_twice() -> None:
    x = torch.randn(1, 4, 4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: [part.sin() for part in split_heads(x, 2, 3, 1)], x)


@pytest.mark.parametrize("kernels", [pytest.param("auto", marks=needs_kernels), "off"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_keys_beyond_the_seam_have_no_share_below_normal_numbers(
    kernels: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """exp(-100) is 3.8e-44: a CPU multiplied such shares and their gradients up to eight times more slowly."""
    monkeypatch.setenv("STMBENCH_KERNELS", kernels)
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn(2, 1, 49, 32, generator=generator).to(dtype) for _ in range(2))
    values = torch.eye(49, dtype=dtype).expand(2, 1, 49, 49)  # the output is the shares themselves
    apart = torch.arange(49) >= 28
    bias = (SEPARATED * (apart[:, None] != apart)).to(dtype).requires_grad_()
    shares = window_attention(q, k, values, bias[None, None], is_mask=True)
    assert (shares[..., apart[:, None] != apart] == 0).all()
    exact = (q.double() @ k.double().transpose(2, 3) * 32**-0.5 + bias.double()).softmax(-1)
    torch.testing.assert_close(
        shares.double(),
        exact,
        **{"rtol": 0.1, "atol": 2e-3} if dtype == torch.bfloat16 else {"rtol": 1e-5, "atol": 1e-38},
    )


@pytest.mark.parametrize("shape", [(1, 1, 1, 5), (2, 3, 4, 1), (1, 3, 4, 5), (4, 5)])
def test_a_bias_that_is_the_same_for_all_queries_is_repeated(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, n, 8, generator=generator, dtype=torch.float64) for n in (4, 5, 5))
    bias = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    wanted = (q @ k.transpose(2, 3) * 8**-0.5 + bias).softmax(-1) @ v
    torch.testing.assert_close(window_attention(q, k, v, bias), wanted)
