"""What `--mode train` times is what `train` does: fp32 weights, half precision by autocast, a scaled loss in fp16."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from stmbench.analyses.profile.tasks import forward_of
from stmbench.analyses.profile.timed_models import TimedModel, TimedModelSpec, TrainStep, loss_of

HALF = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@pytest.mark.parametrize("dtype", HALF)
def test_weights_stay_fp32_finite_and_as_they_were(dtype: str) -> None:
    spec = TimedModelSpec(model="unified_dw_conv_nano", stage=0, train=True, resolution=(32, 32), dtype=dtype)
    subject = TimedModel(spec)
    before = [parameter.detach().clone() for parameter in subject.module.parameters()]
    seen: set[torch.dtype] = set()
    convolution = next(module for module in subject.module.modules() if isinstance(module, nn.Conv2d))
    convolution.register_forward_hook(lambda _module, _inputs, output: seen.add(output.dtype))
    step = subject.run(2)
    for _ in range(3):
        step()
    assert isinstance(step, TrainStep)
    for parameter, old in zip(subject.module.parameters(), before, strict=True):
        assert parameter.dtype == torch.float32
        assert torch.equal(parameter, old), "NaN and what has changed are both unequal"
    assert seen == {HALF[dtype]}
    assert subject.input(2).dtype == torch.float32
    steps = {int(state["step"]) for state in step._optimizer.state.values()}
    assert steps in ({3}, {4}), "each made a step"


def test_the_first_call_ends_with_a_step_that_was_not_skipped() -> None:
    layer = nn.Linear(4, 4)

    def steep(x: Tensor) -> Tensor:
        found: Tensor = 3e4 * layer(x)  # times 2^16 this overflows
        return found

    step = TrainStep(loss_of(steep, (torch.ones(2, 4),)), layer, "cpu", "fp16")
    step()
    assert step._scaler.get_scale() < 2**16, "skipped at first"
    assert step._optimizer.state, "and then made, with its memory"
    made = {name: int(step._optimizer.state[p]["step"]) for name, p in layer.named_parameters()}
    step()
    assert {int(step._optimizer.state[p]["step"]) for p in layer.parameters()} == {made["weight"] + 1}


def test_parts_are_timed_in_the_steps_precision() -> None:
    spec = TimedModelSpec(model="unified_identity_nano", train=True, resolution=(32, 32), dtype="bf16")
    subject = TimedModel(spec)
    output = forward_of(subject, subject.arguments(2))()
    assert isinstance(output, Tensor)
    assert output.dtype == torch.bfloat16
    assert output.requires_grad
