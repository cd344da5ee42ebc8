from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from stmbench.analyses.profile.costs import PartClock, borders
from stmbench.architectures.catalog import create_model
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
