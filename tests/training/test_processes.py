"""Two processes on gloo are one process with the same global batch: losses, BatchNorms, and the accuracy of any set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from stmbench.errors import ConfigError, OutputError
from stmbench.training.distributed import ProcessGroup, join, launched_rank
from tests.training import two_processes
from tests.training.runs import RANDOM, memory, settings, trained
from tests.training.two_processes import NORMS, RUNS


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the processes found, in one start of them for all tests."""
    return two_processes.both(tmp_path_factory.mktemp("two") / "found")


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    """What one process finds."""
    return two_processes.work(ProcessGroup())


@pytest.mark.parametrize("model", RUNS)
def test_losses_of_one_process(both: list[dict[str, Any]], alone: dict[str, Any], model: str) -> None:
    losses, accuracies = alone["losses"][model]
    assert losses[0] > 0.3
    assert len(set(losses)) == len(losses) == 9
    for found in both:
        np.testing.assert_allclose(found["losses"][model][0], losses, rtol=0, atol=1e-9)
        assert found["losses"][model][1] == accuracies
        assert accuracies[-1][1] == 9, "an odd number of images, each judged once"


@pytest.mark.parametrize("name", NORMS)
def test_a_norm_over_the_joint_batch(both: list[dict[str, Any]], alone: dict[str, Any], name: str) -> None:
    (y, gradient, *tracked, evaluated), parts = alone["norms"][name], [found["norms"][name] for found in both]
    # the statistics stay in the processes' state alike; maps are each process's share
    for index, wanted in ((0, y), (1, gradient), (-1, evaluated)):
        torch.testing.assert_close(torch.cat([part[index] for part in parts]), wanted, rtol=0, atol=1e-10)
    for part in parts:
        assert len(part) == len(tracked) + 3
        for value, wanted in zip(part[2:-1], tracked, strict=True):
            torch.testing.assert_close(value, wanted, rtol=1e-12, atol=1e-12)


def test_every_image_is_judged_once(both: list[dict[str, Any]], alone: dict[str, Any]) -> None:
    for count, (correct, total, loss) in alone["scores"].items():
        assert total == count
        for found in both:
            assert found["scores"][count][:2] == (correct, total)
            assert found["scores"][count][2] == pytest.approx(loss, abs=1e-12)


def test_detections_of_all_processes_are_judged_together(both: list[dict[str, Any]], alone: dict[str, Any]) -> None:
    value, low, count = alone["boxes"]
    assert 0 < low < value < 1
    assert count == 13
    assert [found["boxes"] for found in both] == [alone["boxes"]] * 2


def test_self_distillation_of_one_process(both: list[dict[str, Any]], alone: dict[str, Any]) -> None:
    wanted = alone["distilled"]
    assert len(set(wanted["losses"])) == 9
    for found in (process["distilled"] for process in both):
        np.testing.assert_allclose(found["losses"], wanted["losses"], rtol=0, atol=1e-9)
        torch.testing.assert_close(found["centre"], wanted["centre"], rtol=0, atol=1e-9)
        assert found["scores"] == pytest.approx(wanted["scores"], abs=1e-6)


def test_an_error_of_one_is_an_error_of_all(both: list[dict[str, Any]]) -> None:
    assert both[0]["errors"] == ("OutputError", "expected to write a, got no space; free some")
    assert both[1]["errors"] == ("UnitError", "expected to write a, got no space; free some")


def test_alone_an_error_is_its_own() -> None:
    def full() -> None:
        raise OutputError("to write a", "no space", "free some")

    with pytest.raises(OutputError):
        ProcessGroup().guarded(full)
    assert ProcessGroup().guarded(lambda: 3) == 3


def test_without_a_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert join("cpu") == ProcessGroup(device=torch.device("cpu"))
    assert launched_rank() == 0
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert launched_rank() == 1


@pytest.mark.parametrize(
    ("size", "accumulate", "batch", "said"),
    [(3, 1, 16, "16 over 3 processes and 1 passes"), (2, 3, 16, "16 images in 3 passes")],
)
def test_a_batch_that_cannot_be_divided(size: int, accumulate: int, batch: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        trained(settings(accumulate=accumulate), memory(), ProcessGroup(size=size))


def test_images_are_mixed_in_even_numbers() -> None:
    with pytest.raises(ConfigError, match="an even batch where images are mixed, got 1"):
        trained(settings(recipe=RANDOM, accumulate=16))
