"""The share of the mixers' branches in the residual stream, and that it is said where it is hardly any."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from stmbench.architectures.blocks import BlockConfig, TransformerBlock
from stmbench.architectures.catalog import create_model
from stmbench.architectures.mixer_contribution import faint_mixers, mixer_contribution
from stmbench.reporting import read_stores
from stmbench.reporting.build_report import build_report
from tests.commands import run

NAME = "unified_dw_conv_nano"


class Three(nn.Module):
    """A mixer that gives three times its input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        return 3 * x


class OneBlock(nn.Module):
    """A network of one block on the pixels."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.block = TransformerBlock(
            Three(), BlockConfig(dim=3, mlp_ratio=1, norm_eps=1e-6, drop_path=0.0, scale=scale)
        )
        self.block.norm1 = nn.Identity()  # type: ignore[assignment]

    def mixers(self) -> list[tuple[None, str, nn.Module]]:
        """Of its one block."""
        return [(None, "block.mixer", self.block.mixer)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, H, W, 3)."""
        y: torch.Tensor = self.block(x.permute(0, 2, 3, 1))
        return y


@pytest.mark.parametrize("scale", [1e-6, 0.003, 0.004, 0.5])
def test_the_share_is_the_branch_over_the_stream(scale: float) -> None:
    model = OneBlock(scale).train()
    found = mixer_contribution(model, (8, 8))
    assert found == pytest.approx(3 * scale, rel=1e-5)
    assert model.training
    assert not model.block.branch1._forward_pre_hooks
    assert bool(faint_mixers("one", model, (8, 8))) == (3 * scale < 0.01)


def test_layer_scale_is_what_keeps_mixers_quiet() -> None:
    torch.manual_seed(0)
    faint = faint_mixers(NAME, create_model(NAME), (32, 32))
    assert 0 < faint["faint_mixers"][NAME] < 1e-4
    assert faint_mixers(NAME, create_model(f"{NAME}[layer_scale=1]"), (32, 32)) == {}


def test_models_without_such_branches_have_no_share() -> None:
    assert mixer_contribution(nn.Conv2d(3, 3, 1), (8, 8)) is None
    broken = OneBlock(1.0)
    broken.block.mixer = nn.Linear(4, 4)
    assert mixer_contribution(broken, (8, 8)) is None
    infinite = OneBlock(math.inf)
    assert mixer_contribution(infinite, (8, 8)) is None


FEW = ("--models", NAME, "--resolution", "32")
SAID = f"as in {NAME}[layer_scale=1]"


@pytest.mark.parametrize("arguments", [("profile", *FEW, "--no-timing"), ("eval", *FEW, "--num-images", "10")])
def test_commands_and_reports_say_that_mixers_hardly_take_part(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    for _ in range(2):  # what was kept says it too
        result = run.stmbench(*arguments, "--out", str(tmp_path))
        assert result.exit_code == 0, result.output
        (line,) = [line for line in result.stderr.splitlines() if "residual stream" in line]
        assert line.startswith(f"warning: the mixers of {NAME} contribute less than 1 % of the residual stream")
        assert SAID in line
    report = build_report(read_stores([tmp_path]))
    assert [SAID in caveat.text for caveat in report.caveats if "residual" in caveat.text] == [True]
    assert SAID in (tmp_path / f"{arguments[0]}.html").read_text()


def test_a_larger_layer_scale_is_not_spoken_of(tmp_path: Path) -> None:
    arguments = ("--models", f"{NAME}[layer_scale=1]", "--resolution", "32", "--no-timing")
    result = run.stmbench("profile", *arguments, "--out", str(tmp_path))
    assert result.exit_code == 0
    assert "residual" not in result.stderr
