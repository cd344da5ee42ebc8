"""The processes of a run: one alone, or those that `torchrun` started. gloo on CPU, nccl on GPU."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from stmbench.errors import ConfigError, StmbenchError, UnitError

Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProcessGroup:
    """`rank` of `size` processes; each has its own `device`. Reductions of a single process are what they are given."""

    rank: int = 0
    size: int = 1
    device: torch.device = dataclasses.field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_first(self) -> bool:
        """Whether this process writes and shows."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes, on the CPU in float64."""
        total = values.detach().to(self.device, torch.float64)
        if self.size > 1:
            dist.all_reduce(total)
        return total.cpu()

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes, on the CPU in float64."""
        return self.sum(values) / self.size

    def guarded(self, act: Callable[[], Result]) -> Result:
        """What `act` gives; an error of stmbench's in one process is raised in all: none waits for one that left.

        Raises:
            StmbenchError: the process's own error, or a UnitError that says another's.
        """
        found, own = None, None
        try:
            found = act()
        except StmbenchError as error:
            own = error
        texts: list[str | None] = [None if own is None else str(own)]
        if self.size > 1:
            texts *= self.size
            dist.all_gather_object(texts, None if own is None else str(own))
        if own is not None:
            raise own
        for text in filter(None, texts):
            raise UnitError(text)
        return cast(Result, found)

    def gather(self, own: Result) -> list[Result]:
        """What each process has, in every process, in the order of ranks."""
        found = [own] * self.size
        if self.size > 1:
            dist.all_gather_object(found, own)
        return found

    def broadcast(self, message: Any) -> Any:
        """What the first process says, in every process."""
        box = [message]
        if self.size > 1:
            dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]


def join(device: str) -> ProcessGroup:
    """The group of this process, as torchrun's environment says; call `leave` in the end.

    Raises:
        ConfigError: fewer GPUs on this machine than processes.
    """
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if size == 1:
        return ProcessGroup(device=torch.device(device))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    on_gpu = device.startswith("cuda")
    if on_gpu and local >= torch.cuda.device_count():
        got = f"{torch.cuda.device_count()} for process {local + 1}"
        raise ConfigError("a GPU for every process of this machine", got, "lower --nproc-per-node, or use --device cpu")
    place = torch.device("cuda", local) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(place)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if on_gpu else "gloo")
    return ProcessGroup(rank=rank, size=size, device=place)


def launched_rank() -> int:
    """This process's number among those that torchrun started; 0 without it. Needs no process group."""
    return int(os.environ.get("RANK", "0")) if int(os.environ.get("WORLD_SIZE", "1")) > 1 else 0


def leave() -> None:
    """End the process group, where there is one."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
