"""Halo attention in one pass: the mixer's plain path and its reference, and when which of them runs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.library import opcheck

from stmbench.kernels import setting
from stmbench.kernels.halo_attention import halo_attention
from stmbench.mixers.base import BlockPosition
from stmbench.mixers.halo_attn import VARIANTS, HaloAttn, HaloAttnConfig, config_at
from tests.kernels import needs_kernels

pytestmark = needs_kernels

# heads, d, window, before, after: d below, at, between and beyond lengths of vectors; rows of keys of several vectors
WINDOWS = [
    *((2, 32, 7, 3, 3), (3, 20, 7, 3, 3), (1, 64, 7, 1, 1), (2, 16, 4, 2, 2), (2, 5, 3, 0, 6), (2, 8, 7, 0, 0)),
    *((1, 1, 1, 0, 0), (2, 33, 5, 4, 1), (1, 12, 9, 6, 6), (1, 40, 2, 9, 9), (1, 3, 14, 10, 9), (1, 4, 1, 20, 20)),
]
MAPS = [(1, 7, 7), (2, 9, 10), (3, 21, 14), (1, 1, 1), (1, 3, 30)]  # B, H, W
CLOSE = {torch.float64: 1e-12, torch.float32: 1e-5}


def built(config: HaloAttnConfig, dtype: torch.dtype = torch.float64) -> HaloAttn:
    torch.manual_seed(0)
    return HaloAttn(config).to(dtype).eval()


def small(dtype: torch.dtype = torch.float64) -> HaloAttn:
    return built(HaloAttnConfig(dim=24, heads=2, window=4, before=2, after=1), dtype)


def image(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


def fused(mixer: HaloAttn, x: Tensor) -> Tensor:
    """By the kernel."""
    with torch.no_grad(), setting.counted() as calls:
        y: Tensor = mixer(x)
    assert dict(calls) == {"halo_attention": 1}
    return y


def plain(mixer: HaloAttn, x: Tensor) -> Tensor:
    """Without any."""
    with pytest.MonkeyPatch.context() as patch, torch.no_grad(), setting.counted() as calls:
        patch.setenv("STMBENCH_KERNELS", "off")
        y: Tensor = mixer(x)
    assert not calls
    return y


def assert_close(ours: Tensor, theirs: Tensor, close: float, *, equal_nan: bool = False) -> None:
    most = float(theirs.nan_to_num().abs().max()) if theirs.numel() else 0.0
    torch.testing.assert_close(ours, theirs, rtol=close, atol=close * most, equal_nan=equal_nan)


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize(("heads", "depth", "window", "before", "after"), WINDOWS)
def test_the_numbers_are_those_of_the_plain_path(
    heads: int, depth: int, window: int, before: int, after: int, dtype: torch.dtype
) -> None:
    config = HaloAttnConfig(dim=heads * depth, heads=heads, window=window, before=before, after=after)
    mixer = built(config, dtype)
    for shape in MAPS:
        x = image(*shape, config.dim, dtype=dtype)
        assert_close(fused(mixer, x), plain(mixer, x), CLOSE[dtype])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("block", [0, 1])
def test_the_numbers_are_those_of_the_reference(variant: str, block: int) -> None:
    """Every offset has a term of its own: one that is looked up wrongly, or added with another sign, is seen."""
    position = BlockPosition(stage=1, block=block, dim=24, resolution=(9, 10))
    mixer = built(config_at(position, window=4, halo=2, head_dim=12, variant=variant))  # type: ignore[arg-type]
    x = image(2, 9, 10, 24)
    ours = fused(mixer, x)
    with torch.no_grad():
        assert_close(ours, mixer.reference(x), CLOSE[x.dtype])
        for table in (mixer.height_rel, mixer.width_rel):
            table.neg_()
            assert (fused(mixer, x) - ours).abs().max() > 1e-3
            table.neg_()


@pytest.mark.parametrize("dtype", CLOSE)
def test_the_numbers_do_not_depend_on_threads_or_memory(dtype: torch.dtype) -> None:
    mixer, x = small(dtype), image(3, 12, 8, 24, dtype=dtype)
    with torch.no_grad():
        q, kv = mixer.q(x), mixer.kv(x)
    tables, numbers = (mixer.height_rel.detach(), mixer.width_rel.detach()), (2, 4, 2, 7)
    wide = torch.zeros(3, 12, 8, 60, dtype=dtype)
    wide[..., 5:53] = kv
    turned = q.transpose(1, 2).contiguous().transpose(1, 2)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            for given in ((q, kv), (turned, wide[..., 5:53])):
                found.append(halo_attention(*given, *tables, *numbers))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(found[0], other) for other in found[1:])


def test_maps_of_one_token_may_have_any_strides() -> None:
    """PyTorch calls them contiguous, whatever the strides of dimensions of size 1."""
    q, kv = image(3, 1, 1, 8), image(3, 1, 1, 16)
    odd = [torch.as_strided(x, x.shape, (x.shape[3], 1, 1, 1)) for x in (q, kv)]
    tables = image(1, 4), image(1, 4)
    y = halo_attention(*odd, *tables, 2, 1, 0, 1)
    assert torch.equal(y, kv.view(3, 1, 1, 2, 2, 4)[..., 1, :].flatten(3))  # the one key has all the weight


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("part", [0, 1])
def test_what_is_not_finite_reaches_whom_it_reaches_without(value: float, part: int) -> None:
    mixer = small()
    q, kv = image(2, 12, 12, 24), torch.randn(2, 12, 12, 48, dtype=torch.float64)
    kv[1, 9, 2, 12 * part + 3] = value  # a key's or a value's of the first head, seen by two windows
    with torch.no_grad():
        ours = mixer._attend(q, kv)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("STMBENCH_KERNELS", "off")
            theirs = mixer._attend(q, kv)
    assert_close(ours.nan_to_num(posinf=7), theirs.nan_to_num(posinf=7), 1e-12)
    assert torch.equal(ours.isnan(), theirs.isnan())
    assert bool(ours[1, 8:, :4, :12].isfinite().logical_not().any())
    assert bool(ours[0].isfinite().all())
    assert bool(ours[..., 12:].isfinite().all())


def test_terms_of_keys_outside_the_map_count_for_nothing() -> None:
    """On a map of one window the halo is outside: its offsets' rows may hold anything."""
    mixer, x = small(), image(1, 4, 4, 24)
    ours = fused(mixer, x)
    with torch.no_grad():
        for table in (mixer.height_rel, mixer.width_rel):
            table[:5].fill_(torch.nan)  # key - query + reach - 1 is 2 + 6 - 3 and more
            table[12:].fill_(torch.nan)
    assert torch.equal(fused(mixer, x), ours)


def test_the_kernel_runs_in_inference_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    mixer, x = small(torch.float32), image(1, 8, 8, 24, dtype=torch.float32)

    def ran() -> bool:
        with setting.counted() as calls:
            mixer(x)
        return "halo_attention" in calls

    assert not ran()  # the weights need a gradient
    with torch.inference_mode():
        assert ran()
    with torch.no_grad():
        assert ran()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert not ran()
        with torch.autocast("cpu", enabled=False):
            assert ran()
        monkeypatch.setenv("STMBENCH_KERNELS", "off")
        assert not ran()
    monkeypatch.undo()
    mixer.requires_grad_(requires_grad=False)
    assert ran()
    mixer.width_rel.requires_grad_()
    assert not ran()


def test_a_compiled_graph_has_the_operator() -> None:
    torch._dynamo.reset()
    mixer, x = small(), image(2, 9, 10, 24)
    compiled = torch.compile(mixer, backend="aot_eager", fullgraph=True)
    with torch.no_grad(), setting.counted() as calls:
        y = compiled(x)
    assert dict(calls) == {"halo_attention": 1}
    assert_close(y, plain(mixer, x), 1e-12)


def test_pytorch_accepts_the_operator() -> None:
    given = image(1, 4, 6, 8), image(1, 4, 6, 16), image(7, 4), image(7, 4)
    opcheck(halo_attention, (*given, 2, 2, 1, 4))
    with pytest.raises(RuntimeError, match=r"halo_attention.* has no derivative"):
        halo_attention(given[0].requires_grad_(), *given[1:], 2, 2, 1, 4).sum().backward()
