"""Shifted windows in one kernel with their layers: numbers of the plain form and the reference, and where it runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from stmbench.kernels import mlp, setting, window_attention
from stmbench.kernels.library import VARIABLE
from stmbench.mixers.sw_attn import SwAttn, SwAttnConfig
from tests.kernels import needs_kernels, require_same_by_default_dtype, require_same_with_threads

pytestmark = needs_kernels

# heads, d, window, shift: d below, at, between and beyond lengths of vectors, and every shift of a small window
WINDOWS = [(3, 32, 7, 0), (3, 32, 7, 3), (2, 20, 7, 6), (1, 64, 7, 1), (2, 16, 4, 2), (2, 5, 3, 1), (2, 5, 3, 2),
           (1, 1, 1, 0), (1, 33, 5, 4), (4, 8, 9, 4), (1, 12, 2, 1), (1, 3, 14, 7)]  # fmt: skip
MAPS = [(1, 7, 7), (2, 9, 10), (3, 21, 14), (1, 1, 1), (1, 3, 30), (2, 28, 28)]  # B, H, W


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def built(heads: int = 3, depth: int = 8, window: int = 4, shift: int = 2) -> SwAttn:
    """In eval mode and without gradients; every weight counts."""
    mixer = SwAttn(SwAttnConfig(dim=heads * depth, heads=heads, window=window, shift=shift))
    mixer.eval().requires_grad_(False)
    for seed, parameter in enumerate(mixer.parameters()):
        parameter.copy_(drawn(*parameter.shape, seed=seed) * (0.5 if parameter.ndim == 1 else 0.2))
    return mixer


def runs(mixer: nn.Module, x: Tensor) -> int:
    with setting.counted() as calls:
        mixer(x)
    return calls["window_attention"]


@pytest.mark.parametrize(("heads", "depth", "window", "shift"), WINDOWS)
def test_the_numbers_are_those_of_the_plain_form(
    heads: int, depth: int, window: int, shift: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window_attention, "PART", 500)  # one or two images at a time
    mixer = built(heads, depth, window, shift)
    for seed, shape in enumerate(MAPS):
        x = drawn(*shape, heads * depth, seed=seed)
        assert runs(mixer, x) == 1
        ours = mixer(x)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(VARIABLE, "off")
            assert runs(mixer, x) == 0
            plain = mixer(x)
        torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-5 * float(plain.abs().max()))


@pytest.mark.parametrize("shift", [0, 1, 3])
def test_the_numbers_are_those_of_the_reference(shift: int) -> None:
    """Every offset has a bias of its own: one that is looked up wrongly, or added with another sign, is seen."""
    mixer, x = built(shift=shift), drawn(2, 9, 10, 24)
    ours = mixer(x)
    expected = built(shift=shift).double().reference(x.double())
    torch.testing.assert_close(ours.double(), expected, rtol=1e-5, atol=1e-5)
    for parameter in (mixer.relative_bias, mixer.qkv.bias, mixer.proj.bias):
        parameter.neg_()
        assert (mixer(x) - ours).abs().max() > 1e-2
        parameter.neg_()


def test_what_is_far_away_is_kept_apart_by_a_hundred_and_no_more() -> None:
    """As the authors' code has it: a logit that is more than that larger gets its weight across the edge."""
    mixer = built(heads=1, depth=8, window=4, shift=2)
    mixer.relative_bias.zero_()
    mixer.relative_bias[0] = 150.0  # the last token's query and the first token's key
    x = drawn(1, 8, 8, 8)
    expected = built(heads=1, depth=8, window=4, shift=2).double()
    expected.relative_bias.copy_(mixer.relative_bias)
    assert runs(mixer, x) == 1
    torch.testing.assert_close(mixer(x).double(), expected.reference(x.double()), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_nothing(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    require_same_with_threads(built(), drawn(3, 12, 8, 24), threads, monkeypatch)


def test_a_default_dtype_changes_nothing() -> None:
    mixer, x = built(), drawn(2, 12, 8, 24)
    require_same_by_default_dtype(mixer, x, mixer(x))


def test_maps_may_lie_in_any_order() -> None:
    mixer, x = built(), drawn(2, 12, 12, 24)
    for moved in (x.transpose(1, 2), torch._neg_view(x), drawn(1, 12, 12, 24).expand(2, -1, -1, -1)):
        torch.testing.assert_close(mixer(moved), mixer(moved.clone().contiguous()), rtol=1e-6, atol=1e-6)


def test_what_is_not_a_number_stays_in_its_window() -> None:
    mixer, x = built(shift=0), drawn(2, 8, 8, 24)
    x[0, 1, 2, 3] = torch.nan
    is_none = mixer(x).isnan()
    assert is_none[0, :4, :4].all()
    assert is_none.sum() == 4 * 4 * 24


@pytest.mark.parametrize("shift", [0, 2])
def test_a_query_without_a_key_takes_nothing(shift: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in PyTorch's fused attention: a head is switched off by a bias of -infinity, or a part of its keys."""
    mixer, x = built(shift=shift), drawn(2, 9, 10, 24)
    mixer.relative_bias[:, 0] = -torch.inf
    mixer.relative_bias[:20, 1] = -torch.inf
    assert runs(mixer, x) == 1
    ours = mixer(x)
    monkeypatch.setenv(VARIABLE, "off")
    assert ours.isfinite().all()
    torch.testing.assert_close(ours, mixer(x), rtol=1e-5, atol=1e-5)


def test_channels_that_heads_do_not_divide_are_an_error_as_without_the_kernel() -> None:
    mixer = built(heads=2, depth=16)
    mixer.qkv, mixer.proj = nn.Linear(31, 93), nn.Linear(31, 31)
    mixer.requires_grad_(False)
    with pytest.raises(RuntimeError, match="shape"):
        mixer(drawn(2, 8, 8, 31))


CHANGES: dict[str, Callable[[SwAttn], object]] = {
    "gradient": lambda mixer: mixer.requires_grad_(),
    "float64": lambda mixer: mixer.double(),
    "half": lambda mixer: mixer.bfloat16(),
    "layer replaced": lambda mixer: setattr(mixer, "proj", nn.Sequential(mixer.proj)),
    "layer without a bias": lambda mixer: setattr(mixer, "proj", nn.Linear(24, 24, bias=False)),
    "bias of one number": lambda mixer: setattr(mixer.proj, "bias", nn.Parameter(torch.ones(1))),
    "watched": lambda mixer: mixer.qkv.register_forward_hook(lambda *_: None),
    "forward replaced": lambda mixer: setattr(mixer.proj, "forward", lambda x: x),
    "method replaced": lambda mixer: setattr(mixer, "_bias", mixer._bias),
    "subclass": lambda mixer: setattr(mixer, "__class__", type("Other", (SwAttn,), {})),
    "parametrized": lambda mixer: nn.utils.parametrizations.spectral_norm(mixer.qkv),
}


@pytest.mark.parametrize("change", CHANGES)
def test_it_leaves_a_changed_mixer_alone(change: str) -> None:
    mixer = built()
    CHANGES[change](mixer)
    mixer.requires_grad_(change == "gradient")
    assert runs(mixer, drawn(2, 8, 8, 24).to(mixer.relative_bias.dtype)) == 0


def test_it_runs_in_no_autocast_trace_or_backward_pass() -> None:
    mixer, x = built(), drawn(2, 8, 8, 24)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert runs(mixer, x) == 0
    assert runs(mixer, x.clone().requires_grad_()) == 0
    assert runs(torch.compile(mixer, backend="eager", fullgraph=True), x) == 0
    assert runs(mixer, x) == 1
    with torch.inference_mode():
        assert runs(mixer, x) == 1
    assert runs(mixer, x[:0]) == 0


def test_parts_are_of_whole_images() -> None:
    mixer, x = built(), drawn(5, 8, 8, 24)
    whole = mixer(x)
    assert window_attention.PART == mlp.PART
    torch.testing.assert_close(whole, torch.cat([mixer(each[None]) for each in x]), rtol=0, atol=1e-6)
