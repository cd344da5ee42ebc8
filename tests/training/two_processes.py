"""What two processes do together and one does alone, for `test_processes`: plain numbers and tensors by name."""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn

from stmbench.architectures.layers import ChannelsLastBatchNorm
from stmbench.errors import OutputError, StmbenchError
from stmbench.tasks.classification.task import Classification
from stmbench.tasks.detection.task import Detection
from stmbench.training.batch_norm import synchronised
from stmbench.training.dino_recipe import DINO_PRESETS
from stmbench.training.distributed import ProcessGroup, join, leave
from tests.tasks.detection import runs as detection
from tests.tasks.detection.oracle import Shifted
from tests.training.runs import PLAIN, memory, settings, trained

# BatchNorm in the head alone, in each block, and over (B, H, W, C) maps; one with a clipped norm and two passes a step
RUNS: dict[str, dict[str, Any]] = {
    "unified_identity_nano": {},
    "unified_cot_nano": {},
    "container_container_nano": {},
    "unified_dw_conv_nano": {"accumulate": 2},
}
DINO = dataclasses.replace(
    DINO_PRESETS["dino_digits"],
    epochs=3, batch_size=16, lr_batch=16, warmup_epochs=1, local_crops=2, out_dim=32, hidden_dim=24, bottleneck_dim=8,
    head_norm=True, knn_k=3,
)  # fmt: skip
NORMS: dict[str, tuple[Callable[[], nn.BatchNorm2d], int]] = {  # and the axis of the channels
    "plain": (lambda: nn.BatchNorm2d(3), 1),
    "channels last": (lambda: ChannelsLastBatchNorm(3), 3),
    "with an activation": (lambda: BatchNormAct2d(3, act_layer=nn.SiLU), 1),  # type: ignore[no-untyped-call]
    "cumulative": (lambda: nn.BatchNorm2d(3, momentum=None), 1),
    "without weights": (lambda: nn.BatchNorm2d(3, affine=False), 1),
}


def losses(group: ProcessGroup) -> dict[str, Any]:
    """Model -> losses of nine steps in float64 without anything random, and accuracies."""
    found = {}
    recipe = dataclasses.replace(PLAIN, crop_pixels=0, clip_grad=0.5)
    for model, rest in RUNS.items():
        record = trained(settings(model=model, recipe=recipe, dtype="fp64", **rest), memory(), group).record
        found[model] = (record.losses, [(epoch.scores["accuracy"], epoch.test_images) for epoch in record.epochs])
    return found


def norms(group: ProcessGroup) -> dict[str, tuple[Tensor, ...]]:
    """Norm -> output, gradient of the input, running statistics, and the output in eval mode, of 7 joint images."""
    found = {}
    for name, (make, axis) in NORMS.items():
        x = torch.randn(7, 3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        x = 5 + 3 * (x if axis == 1 else x.permute(0, 2, 3, 1))
        mine = (x if group.size == 1 else (x[:2], x[2:])[group.rank]).requires_grad_()  # not even the same number
        norm = synchronised(nn.Sequential(make().double()), group)
        for _ in range(2):
            y = norm(mine)
        y.pow(3).sum().backward()
        assert mine.grad is not None
        tracked = list(norm.state_dict().values())
        found[name] = (y.detach(), mine.grad, *tracked, norm.eval()(mine).detach())
    return found


def scores(group: ProcessGroup) -> dict[int, tuple[int, int, float]]:
    """Number of test images -> right ones, all, mean loss; 1 leaves a process without an image."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2)).double()
    found = {}
    for count in (1, 2, 7):
        run = settings(recipe=PLAIN, dtype="fp64", resolution=(8, 8), limit_corrupt=0)
        task = Classification(run, memory(tests=count), group)
        task.prepare(model)
        score = task.score(model, final=True)
        found[count] = (round(score.values["accuracy"] * score.count), score.count, score.values["test_loss"])
    return found


def boxes(group: ProcessGroup) -> tuple[float, float | None, int]:
    """Average precision, its interval's lower end and the images of a detector; the first process has one more."""
    run = detection.settings(dataset="shapes[size=64,count=13]")
    task = Detection(run, detection.data(run), group)
    model = task.build()
    task.prepare(model)
    score = task.score(Shifted(task.data.test), final=True)
    return score.values["box_ap"], score.low, score.count


def distilled(group: ProcessGroup) -> dict[str, Any]:
    """Losses, centre, and the last epoch's scores of self-distillation, with a normed head; 9 test images are odd."""
    made = trained(settings(recipe=DINO, dtype="fp64"), memory(), group)
    scores = dict(made.record.epochs[-1].scores)
    return {"losses": made.record.losses, "centre": made.model.centre, "scores": scores}


def errors(group: ProcessGroup) -> tuple[str, str]:
    """The kind and text of what is raised here where the first process fails."""

    def fail() -> None:
        if group.is_first:
            raise OutputError("to write a", "no space", "free some")

    try:
        group.guarded(fail)
    except StmbenchError as error:
        return type(error).__name__, str(error)
    return "none", ""


def work(group: ProcessGroup) -> dict[str, Any]:
    """Everything."""
    return {
        "losses": losses(group),
        "norms": norms(group),
        "scores": scores(group),
        "boxes": boxes(group),
        "distilled": distilled(group),
        "errors": errors(group),
    }


def process(rank: int, port: int, file: str) -> None:
    """One of the two; its findings are in FILE.RANK."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    group = join("cpu")
    try:
        torch.save(work(group), f"{file}.{rank}")
    finally:
        leave()


def both(file: Path) -> list[dict[str, Any]]:
    """Run the two processes; what each found."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(process, (port, str(file)), nprocs=2)  # type: ignore[no-untyped-call]
    return [torch.load(f"{file}.{rank}", weights_only=True) for rank in range(2)]
