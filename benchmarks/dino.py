"""What a step of self-distillation costs beside its forward and backward passes, in one run, interleaved.

    python -m benchmarks.dino                                  nano networks on digits, batch 64
    python -m benchmarks.dino --models unified_dw_conv_micro --recipe dino --set batch_size=16 --resolution 224

A step changes the colours of the crops, runs student and teacher forward and the student backward, clips, updates,
moves the teacher and the centre. Cropping happens in the data loader and is given apart. Prints a Markdown table with
the 95 % interval of the paired ratio.
"""

from __future__ import annotations

import argparse
import itertools
import time
from typing import Any

import torch
import yaml

from stmbench.measure.bootstrap import median_interval, paired_ratio
from stmbench.measure.clock import timer_for
from stmbench.measure.interleaving import rounds
from stmbench.tasks.base import open_data
from stmbench.tasks.dino.objective import distil
from stmbench.training.distributed import ProcessGroup
from stmbench.training.loop import Loop
from stmbench.training.presets import recipe_for
from stmbench.training.settings import TrainingSettings

BATCHES = 8


def passes(loop: Loop, crops: list[torch.Tensor]) -> None:
    """Both forward passes, the loss and the backward pass, nothing else."""
    model, recipe = loop.model, loop.settings.recipe
    student, teacher = model(crops)
    temperatures = {"student_temperature": recipe.student_temperature, "teacher_temperature": 0.04}
    distil(student, teacher, model.centre, **temperatures).loss.backward()
    loop.optimizer.zero_grad(set_to_none=True)


def line(settings: TrainingSettings, count: int, device: str) -> str:
    """A row of the table."""
    loop = Loop(settings, open_data(settings), ProcessGroup(device=torch.device(device)),
                keep=lambda *_: None, tell=lambda *_: None)  # fmt: skip
    began, batches = time.perf_counter(), list[Any]()
    for inputs, targets, _ in loop.batches:
        batches.append((inputs, targets))
        if len(batches) == BATCHES:
            break
    cropping = (time.perf_counter() - began) / len(batches)
    task: Any = loop.task
    task.before_step(loop.optimizer, 0)
    wide, near, changes = batches[0][0]
    crops = [task._crops(wide, changes[:, : wide.shape[1]])]
    if near.shape[1]:
        crops.append(task._crops(near, changes[:, wide.shape[1] :]))
    turn, timer = itertools.count(), timer_for(device)
    calls = {
        "passes": lambda: passes(loop, crops),
        "step": lambda: loop._step([batches[next(turn) % len(batches)]]),
    }
    for _ in range(3):
        for call in calls.values():
            timer.time(call)
    times: dict[str, list[float]] = {name: [] for name in calls}
    subjects = {name: (lambda f=call: timer.time(f)) for name, call in calls.items()}
    for samples, _ in zip(rounds(subjects, seed=0), range(count), strict=False):
        for sample in samples:
            times[sample.workload].append(sample.seconds)
    ratio = paired_ratio(times["step"], times["passes"])
    own = median_interval(times["passes"]).estimate
    return (
        f"| {settings.model} | {own * 1e3:.1f} | {ratio.estimate:.2f} | {ratio.low:.2f} to {ratio.high:.2f} "
        f"| {cropping * 1e3:.0f} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="unified_dw_conv_nano,unified_halo_attn_nano,unified_identity_nano")
    parser.add_argument("--recipe", default="dino_digits")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--resolution", type=int)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--device", default="cpu")
    words = parser.parse_args()
    changes = {name: yaml.safe_load(value) for name, _, value in (text.partition("=") for text in words.set)}
    recipe = recipe_for(words.recipe, **changes)
    size = None if words.resolution is None else (words.resolution, words.resolution)
    about = f"batch {recipe.batch_size}, 2 + {recipe.local_crops} crops, {recipe.out_dim} outputs"
    print(f"{words.recipe}, {about}, {words.device}, {words.rounds} rounds, {torch.get_num_threads()} threads\n")
    print("| model | passes, ms | step / passes | 95 % | cropping in the loader, ms |")
    print("|---|---|---|---|---|")
    for model in words.models.split(","):
        settings = TrainingSettings(model=model, recipe=recipe, dataset=words.dataset, resolution=size)
        print(line(settings, words.rounds, words.device))


if __name__ == "__main__":
    main()
