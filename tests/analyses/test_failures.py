"""Why a unit failed, in our words."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from stmbench.analyses.profile.timed_models import TrainStep, loss_of
from stmbench.errors import reason_of

NORMS = {
    "batch": (nn.BatchNorm2d(8), "1x8x1x1"),
    "instance": (nn.InstanceNorm2d(8), "1x8x1x1"),
    "flat": (nn.Sequential(nn.Flatten(), nn.BatchNorm1d(8)), "1x8"),
}


@pytest.mark.parametrize(("norm", "size"), NORMS.values(), ids=NORMS)
def test_a_norm_that_trains_on_one_value_is_refused_with_the_remedy(norm: nn.Module, size: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 4, 4), norm, nn.Flatten())
    with pytest.raises(ValueError, match="when training") as caught:
        TrainStep(loss_of(model, (torch.randn(1, 3, 4, 4),)), model, "cpu", "fp32")()
    assert reason_of(caught.value) == (
        f"expected at least 2 values of each channel for a norm that trains, got 1, in a map of {size}; "
        "give --batch-size 2 or more for each process and pass, or a larger --resolution"
    )


def test_other_errors_keep_their_kind_and_their_text() -> None:
    assert reason_of(ValueError("got input size 3")) == "ValueError: got input size 3"
