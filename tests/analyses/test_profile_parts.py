from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stmbench.analyses.profile.costs import PartClock, borders, parts_of
from stmbench.analyses.profile.tasks import forward_of
from stmbench.analyses.profile.timed_models import TimedModel, TimedModelSpec
from stmbench.architectures.catalog import create_model
from stmbench.kernels import mlp, setting
from stmbench.measure.clock import WallTimer
from tests.kernels import needs_kernels
from tests.measure.fake_clock import ScriptedTimer


class Work(nn.Module):
    """Spends its seconds before and after its child's."""

    def __init__(self, timer: ScriptedTimer, seconds: float, child: nn.Module | None = None) -> None:
        super().__init__()
        self.timer, self.seconds, self.child = timer, seconds, child

    def forward(self, x: Tensor) -> Tensor:
        self.timer.spend(self.seconds)
        if self.child is not None:
            x = self.child(x)
            self.timer.spend(self.seconds)
        return x


class Net(nn.Module):
    def __init__(self, timer: ScriptedTimer) -> None:
        super().__init__()
        self.timer = timer
        self.stem = Work(timer, 1.0)
        # a mixer that holds a module of its own part, and one of another part
        self.blocks = nn.ModuleList([nn.ModuleDict({"mixer": Work(timer, 10.0, Work(timer, 3.0))}) for _ in range(2)])
        self.mlp = Work(timer, 100.0, Work(timer, 50.0))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block["mixer"](x) + x
            self.timer.spend(0.25)
        return self.mlp(x)


PARTS = {
    "stem": r"stem(\..*)?",
    "mixers": r"blocks\.\d+\.mixer(\..*)?",
    "norms": r"mlp\.child",
    "mlps": r"mlp(\..*)?",
}


def test_time_goes_to_the_innermost_part_and_adds_up() -> None:
    timer = ScriptedTimer()
    net = Net(timer)
    clock = PartClock(net, PARTS, timer)
    found = clock.measure(lambda: net(torch.zeros(1)))
    assert found == {"other": 0.5, "stem": 1.0, "mixers": 2 * 23.0, "mlps": 200.0, "norms": 50.0}
    assert sum(found.values()) == timer.now
    assert clock.measure(lambda: net(torch.zeros(1))) == found, "a second pass starts from nothing"
    clock.remove()
    assert clock.measure(lambda: net(torch.zeros(1))) == {"other": sum(found.values())}


def test_hooks_sit_at_borders_only() -> None:
    found = borders(Net(ScriptedTimer()), PARTS)
    assert found == {
        "stem": "stem",
        "blocks.0.mixer": "mixers",
        "blocks.1.mixer": "mixers",
        "mlp": "mlps",
        "mlp.child": "norms",
    }


@pytest.mark.parametrize("name", ["unified_halo_attn_nano", "unified_dw_conv_nano[design=D]"])
def test_all_of_a_models_parameters_lie_in_some_part(name: str) -> None:
    model = create_model(name)
    paths = borders(model, model.parts)
    outside = [n for n, _ in model.named_parameters() if not any(n.startswith(f"{path}.") for path in paths)]
    assert all(n.rsplit(".", 1)[-1] in ("scale", "position") for n in outside), outside
    assert set(paths.values()) == set(model.parts)


@needs_kernels
def test_kernels_run_between_the_stamps_and_count_to_the_mlps(monkeypatch: pytest.MonkeyPatch) -> None:
    timer, kernel = ScriptedTimer(), mlp.residual_mlp

    def slow(*arguments: Any) -> Tensor:
        timer.spend(1.0)
        return kernel(*arguments)

    monkeypatch.setattr(mlp, "residual_mlp", slow)
    model: Any = create_model("unified_dw_conv_nano").eval()
    images = torch.zeros(64, 3, 32, 32)  # maps of the first two stages are large enough
    clock = PartClock(model, model.parts, timer)

    def measured() -> tuple[int, dict[str, float]]:
        with setting.counted() as calls, torch.inference_mode():
            found = clock.measure(lambda: model(images))
        return calls["residual_mlp"], {part: seconds for part, seconds in found.items() if seconds}

    assert measured() == (4, {"mlps": 4.0})
    model.stages[0].blocks[0].norm2.register_forward_hook(lambda *_: None)
    assert measured() == (3, {"mlps": 3.0}), "a user's hook beside a stamp may change values"


@needs_kernels
def test_parts_are_of_the_pass_that_is_timed() -> None:
    subject = TimedModel(TimedModelSpec(model="unified_identity_nano", resolution=(32, 32)))
    timed, forward = subject.run(64), forward_of(subject, subject.arguments(64))
    with setting.counted() as of_timed:
        timed()
    clock = PartClock(subject.model, parts_of(subject.model), WallTimer())
    with setting.counted() as of_parts:
        clock.measure(forward)
    assert of_parts == of_timed != {}
    output = forward()
    assert isinstance(output, Tensor)
    assert output.is_inference()
