"""Processor and GPU watched together while something is timed."""

from __future__ import annotations

from typing import Any

import torch

from stmbench.measure import interference
from stmbench.measure.gpu_watch import watch_of
from stmbench.measure.interference import Disturbance
from stmbench.measure.nvml import REMEDY


class MachineWatch:
    """`begin`, timed work with a `look` after each piece of it, `end`.

    Args:
        device: that works.
        own: how many processes of ours use it.
    """

    def __init__(self, device: str | torch.device, *, own: int = 1) -> None:
        self._is_cuda = torch.device(device).type == "cuda"
        self._gpu = watch_of(device, own=own)
        self.begin()

    def begin(self) -> None:
        """From here on."""
        self._before = interference.take()
        if self._gpu is not None:
            self._gpu.begin()

    def look(self) -> None:
        """Right after timed work: what only shows at that moment."""
        if self._gpu is not None:
            self._gpu.look()

    def end(self) -> list[Disturbance]:
        """What spoke against the samples since `begin`."""
        gpu = [] if self._gpu is None else self._gpu.disturbances()
        return [*interference.disturbances(self._before, interference.take()), *gpu]

    @property
    def facts(self) -> dict[str, Any]:
        """For the metadata: `gpu`, where one is watched."""
        return {} if self._gpu is None else {"gpu": self._gpu.facts}

    @property
    def blind(self) -> list[str]:
        """What a reader has to know where a GPU works and is not watched."""
        if not self._is_cuda or self._gpu is not None:
            return []
        what = "the GPU's clock, limits and other processes were not watched, and its energy not measured"
        return [f"{what}: NVML is not to be had ({REMEDY})"]
