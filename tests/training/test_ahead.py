"""What only several processes or a GPU do, seen on a CPU: batches a step ahead, gradients shared once a step."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from stmbench.errors import ConfigError
from stmbench.tasks.classification.task import Classification
from stmbench.training.batch_norm import synchronised
from stmbench.training.batches import decoding_workers, staged
from stmbench.training.distributed import ProcessGroup
from stmbench.training.loop import Loop
from stmbench.training.options import TrainOptions
from tests.training.runs import PLAIN, folders, memory, settings, training


def _stage(inputs: int, targets: int) -> tuple[int, int]:
    return inputs * 10, targets


BATCHES = [(number, 0, torch.zeros(1)) for number in range(3)]


class FakeStream:
    """A stream that writes down what is asked of it."""

    def __init__(self, log: list[str], name: str) -> None:
        self.log, self.name, self.events = log, name, 0

    def record_event(self) -> str:
        self.events += 1
        return f"event {self.events - 1}"

    def wait_event(self, event: str) -> None:
        self.log.append(f"{self.name} waits for {event}")


def test_a_batch_is_staged_when_it_is_its_turn_on_a_cpu() -> None:
    seen = [inputs for inputs, _, _ in staged(iter(BATCHES), _stage, torch.device("cpu"))]
    assert seen == [0, 10, 20]


def test_a_batch_is_staged_while_the_step_before_it_runs_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    log = list[str]()
    beside, own = FakeStream(log, "beside"), FakeStream(log, "step")

    @contextlib.contextmanager
    def on(stream: FakeStream) -> Iterator[None]:
        log.append(f"on {stream.name}")
        yield

    monkeypatch.setattr(torch.cuda, "Stream", lambda _: beside)
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: own)

    def stage(inputs: int, targets: int) -> tuple[int, int]:
        log.append(f"stage {inputs}")
        return inputs * 10, targets

    for inputs, _, _ in staged(iter(BATCHES), stage, torch.device("cuda", 0)):
        log.append(f"run {inputs}")
    assert log == [
        *("on beside", "stage 0", "on beside", "stage 1", "step waits for event 0", "run 0"),
        *("on beside", "stage 2", "step waits for event 1", "run 10"),
        *("step waits for event 2", "run 20"),
    ]
    assert list(staged(iter([]), stage, torch.device("cuda", 0))) == []


@pytest.fixture
def _group_of_one(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


class Compiled(nn.Module):
    """What torch.compile puts around a module."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """The inner module's."""
        found: Tensor = self.inner(x)
        return found


@pytest.mark.usefixtures("_group_of_one")
@pytest.mark.parametrize(("accumulate", "compiled"), [(1, False), (4, False), (4, True)])
def test_gradients_are_shared_once_a_step(monkeypatch: pytest.MonkeyPatch, accumulate: int, compiled: bool) -> None:
    monkeypatch.setattr(Classification, "compiled", lambda _, model: Compiled(model))
    run = settings(
        recipe=dataclasses.replace(PLAIN, epochs=1, warmup_epochs=0), accumulate=accumulate, compile=compiled
    )
    quiet: Any = {"keep": lambda *_: None, "tell": lambda *_: None}
    made, shared = Loop(run, memory(), ProcessGroup(size=2), **quiet), list[int]()

    def counted(state: Any, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
        shared.append(bucket.index())
        return allreduce_hook(state, bucket)

    counted.__annotations__.clear()  # torch compares them, and here they are text
    made._shared.register_comm_hook(None, counted)  # type: ignore[operator]
    made.run()
    assert len(made.record.losses) == 3
    assert shared.count(0) == 3


def test_torchs_synchronised_norm_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    norm, seen = synchronised(nn.Sequential(nn.BatchNorm2d(3, momentum=0.3)), ProcessGroup(size=2)), list[Any]()
    monkeypatch.setattr(nn.SyncBatchNorm, "forward", lambda module, x: (seen.append(module), x)[1])
    with FakeTensorMode(allow_non_fake_inputs=True):
        norm(torch.empty(2, 3, 4, 4, device="cuda"))
    assert seen == [norm[0]]


def test_torchs_forward_pass_takes_the_module() -> None:
    plain = nn.BatchNorm2d(3, momentum=0.3)
    (norm,) = synchronised(nn.Sequential(nn.BatchNorm2d(3, momentum=0.3)), ProcessGroup(size=2))
    x = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(nn.SyncBatchNorm.forward(norm, x), plain(x), rtol=0, atol=0)
    assert norm.state_dict().keys() == plain.state_dict().keys()
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(norm.state_dict()[name], value, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("images", "embedded", "device", "cores", "local", "wanted"),
    [
        (50_000, False, "cuda", 32, 1, 16),
        (50_000, False, "cuda", 8, 1, 7),
        (50_000, False, "cuda", 32, 8, 3),
        (50_000, False, "cuda", 1, 1, 0),
        (50_000, False, "cpu", 8, 1, 6),
        (50_000, False, "cpu", 2, 1, 0),
        (50_000, False, "cpu", 8, 4, 0),
        (50_000, True, "cuda", 32, 1, 0),
        (999, False, "cuda", 32, 1, 0),
    ],
)
def test_workers_that_take_no_core_from_the_training(
    monkeypatch: pytest.MonkeyPatch, images: int, embedded: bool, device: str, cores: int, local: int, wanted: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(local))
    assert decoding_workers(images, embedded=embedded, device=torch.device(device)) == wanted


def test_a_number_of_workers_is_chosen_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stmbench.training.analysis.decoding_workers", lambda *_, **__: 3)
    data = folders(tmp_path / "pets")
    chosen, given = (training(tmp_path / "out", settings(data, workers=count)) for count in (None, 1))
    assert (chosen.runs[0].workers, given.runs[0].workers) == (3, 1)
    assert [unit.key for unit in chosen.units()] == [unit.key for unit in given.units()], "the same result"
    assert "--workers auto: 3 processes decode images ahead" in chosen.remarks()
    assert not any("--workers" in text for text in given.remarks())


@pytest.mark.parametrize(("given", "wanted"), [("auto", None), ("0", 0), ("4", 4), (2, 2)])
def test_workers_as_options(given: int | str, wanted: int | None) -> None:
    assert TrainOptions(workers=given).worker_count == wanted


@pytest.mark.parametrize("given", ["many", "-1", -1, "1.5", "1025", "9" * 20])
def test_workers_that_are_no_number(given: int | str) -> None:
    with pytest.raises(ConfigError, match=r"expected workers from 0 to 1024, or auto, got '.*; change --workers"):
        TrainOptions(workers=given)
