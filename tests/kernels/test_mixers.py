"""Mixers that have kernels: the same numbers with and without, in every dtype, mode and kind of graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from stmbench.commands import app
from stmbench.errors import ConfigError
from stmbench.kernels import setting
from stmbench.mixers.base import MIXERS, BlockPosition, Mixer
from stmbench.tables import Store
from tests.analyses.profiles import memory
from tests.kernels import needs_kernels

__all__ = ["memory"]

# the kernels that an eager training step runs, without their backward passes
RUN = {
    "dcnv3": {"deformable_sums"},
    "dcnv4": {"deformable_sums"},
    "halo_attn": {"halo_tokens", "relative_softmax"},
    "sw_attn": {"biased_softmax"},
    "cot": {"interleaved_sums"},
    "coxt": {"interleaved_sums"},
    "involution": {"grouped_sums"},
    "outlook_attn": {"grouped_sums"},
    "aggregated_attn": {"grouped_sums"},
}
POSITION = BlockPosition(stage=1, block=1, dim=64, resolution=(9, 10))


def built(name: str, dtype: torch.dtype = torch.float32) -> Mixer:
    torch.manual_seed(0)
    mixer = MIXERS.get(name).build(POSITION)
    for parameter in mixer.parameters():  # some start at zero
        torch.nn.init.normal_(parameter, std=0.1)
    return mixer.to(dtype)


def step(function: Callable[[Tensor], Tensor], mixer: Mixer, x: Tensor) -> list[Tensor]:
    """The output, and the gradients of the input and of every parameter."""
    x = x.detach().requires_grad_()
    y = function(x)
    given = [x, *mixer.parameters()]
    gradients = torch.autograd.grad(y.float().sin().sum(), given, allow_unused=True)
    return [y.detach(), *(gradient for gradient in gradients if gradient is not None)]


def images(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(2, 9, 10, 64, generator=torch.Generator().manual_seed(0)).to(dtype)


@needs_kernels
@pytest.mark.parametrize("name", RUN)
@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-9), (torch.float32, 2e-4)])
def test_outputs_and_gradients_are_the_same_without(
    name: str, dtype: torch.dtype, close: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixer, x = built(name, dtype), images(dtype)
    with setting.counted() as calls:
        ours = step(mixer, mixer, x)
    assert {kernel for kernel in calls if not kernel.endswith("_backward")} == RUN[name]
    assert {f"{kernel}_backward" for kernel in RUN[name]} <= set(calls)
    monkeypatch.setenv("STMBENCH_KERNELS", "off")
    with setting.counted() as calls:
        plain = step(mixer, mixer, x)
    assert not calls
    # a gradient that is zero but for rounding, as of a bias before a norm, is as wide as the rounding of others
    rounding = 100 * torch.finfo(dtype).eps * max(float(other.abs().max()) for other in plain)
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=close, atol=close * float(other.abs().max()) + rounding)


@needs_kernels
@pytest.mark.parametrize("name", RUN)
def test_autocast_gives_what_it_gives_without(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mixer, x = built(name), images()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = step(mixer, mixer, x)
        monkeypatch.setenv("STMBENCH_KERNELS", "off")
        plain = step(mixer, mixer, x)
    for one, other in zip(ours, plain, strict=True):
        assert one.dtype == other.dtype
        assert (one - other).abs().mean() < 0.2 * other.abs().mean() + 1e-6


@needs_kernels
@pytest.mark.parametrize("name", RUN)
def test_half_precision_keeps_its_dtype(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mixer, x = built(name, torch.bfloat16).eval(), images(torch.bfloat16)
    with torch.no_grad():
        ours = mixer(x)
        monkeypatch.setenv("STMBENCH_KERNELS", "off")
        plain = mixer(x)
    assert ours.dtype == plain.dtype == torch.bfloat16
    assert (ours - plain).abs().float().mean() < 0.05 * plain.abs().float().mean()


@needs_kernels
@pytest.mark.parametrize("name", ["dcnv3", "halo_attn", "cot", "involution"])
def test_a_compiled_graph_has_the_kernels_as_operators(name: str) -> None:
    """One graph, forward and backward, of the same numbers; the backend compiles nothing further, which is quick."""
    torch._dynamo.reset()
    mixer, x = built(name, torch.float64), images(torch.float64)
    eager = step(mixer, mixer, x)
    compiled = torch.compile(mixer, backend="aot_eager", fullgraph=True)
    with setting.counted() as calls:
        graph = step(compiled, mixer, x)
    assert RUN[name] <= set(calls)
    for one, other in zip(graph, eager, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9 * float(other.abs().max()))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@needs_kernels
def test_traces_exports_and_function_transforms_show_the_plain_form() -> None:
    mixer, x = built("dcnv3").eval(), images()
    with setting.counted() as calls, torch.no_grad():
        traced = torch.jit.trace(mixer, x, check_trace=False)
        program = torch.export.export(mixer, (x,))
        torch.func.jvp(
            built("outlook_attn").eval(), (x,), (torch.ones_like(x),)
        )  # PyTorch's grid_sample has no forward mode
    assert not calls
    assert "stmbench::" not in str(traced.inlined_graph)
    if hasattr(torch.compiler, "is_exporting"):
        assert "stmbench." not in str(program.graph)
    jacobian = torch.func.jacrev(lambda x: mixer(x)[0, 0, 0, :2])(x)
    assert jacobian.shape == (2, *x.shape)


@pytest.mark.parametrize("name", ["involution", "outlook_attn", "aggregated_attn"])
def test_function_transforms_go_through_mixers_with_fast_forms(name: str) -> None:
    mixer, x = built(name, torch.float64).eval(), images(torch.float64)
    tangent = torch.randn_like(x)
    _, ahead = torch.func.jvp(mixer, (x,), (tangent,))
    rows = torch.func.jacrev(lambda x: mixer(x)[0, 0, 0, :2])(x)
    torch.testing.assert_close((rows * tangent).flatten(1).sum(1), ahead[0, 0, 0, :2])


@needs_kernels
def test_gradients_come_in_batches_too() -> None:
    """As a Jacobian is computed."""
    mixer, x = built("dcnv3", torch.float64), images(torch.float64).requires_grad_()
    outputs = mixer(x)[0, 0, 0, :3]
    (rows,) = torch.autograd.grad(
        outputs, x, torch.eye(3, dtype=torch.float64), is_grads_batched=True, retain_graph=True
    )
    for row, output in zip(rows, outputs, strict=True):
        torch.testing.assert_close(row, torch.autograd.grad(output, x, retain_graph=True)[0])


@needs_kernels
@pytest.mark.parametrize("name", ["halo_attn", "sw_attn", "dcnv3", "cot"])
def test_pytorchs_counter_of_flops_sees_the_plain_form(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mixer, x = built(name).eval(), images()

    def flops() -> int:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            mixer(x)
        return counter.get_total_flops()

    with setting.counted() as calls:
        found = flops()
    assert not calls
    monkeypatch.setenv("STMBENCH_KERNELS", "off")
    assert found == flops() > 0


@needs_kernels
@pytest.mark.parametrize("name", RUN)
def test_a_default_dtype_changes_nothing(name: str) -> None:
    mixer, x = built(name), images()
    expected = step(mixer, mixer, x)
    torch.set_default_dtype(torch.float64)
    try:
        found = step(mixer, mixer, x)
    finally:
        torch.set_default_dtype(torch.float32)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * float(other.abs().max()))


def test_an_unknown_word_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STMBENCH_KERNELS", "fast")
    with pytest.raises(ConfigError, match="expected STMBENCH_KERNELS auto, all or off, got 'fast'"):
        built("dcnv3")(images())


def test_a_timing_depends_on_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STMBENCH_KERNELS", raising=False)
    on = setting.identity()
    monkeypatch.setenv("STMBENCH_KERNELS", "off")
    assert setting.identity() == "off"
    assert setting.facts() == {"setting": "off"}
    assert on == (setting.library.load().version or "off")


@needs_kernels
@pytest.mark.usefixtures("memory")
@pytest.mark.parametrize("batch", [2, 64])
def test_a_profile_says_which_kernels_ran(batch: int, tmp_path: Path) -> None:
    options = ("--resolution", "32", "--time-budget", "0.1", "--device", "cpu", "--out", str(tmp_path / "out"))
    found = CliRunner().invoke(app, ["profile", "unified_dcnv3_nano", *options, "--batch-size", str(batch)])
    assert found.exit_code == 0, found.output
    rows = Store(tmp_path / "out").read()
    calls = rows[rows["metric"] == "kernel_calls"]
    ran = calls.set_index("condition")["value"].to_dict()
    assert ran.pop("deformable_conv") == 8
    assert ran.pop("stem") == 1
    assert ran.pop("patch_conv") == (3 if batch == 2 else 1)  # where there are few positions
    # maps of two small images are not worth it
    assert set(ran) == (set() if batch == 2 else {"residual_mlp"})
    assert "deformable conv" in (tmp_path / "out" / "profile.html").read_text(encoding="utf-8")
