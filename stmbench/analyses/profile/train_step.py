"""One training step as `train` makes it: fp32 weights, autocast in half precision, a scaled loss in fp16, AdamW."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

NUM_CLASSES = 1000
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
MOST_HALVINGS = 24  # of the loss's scale, from 2^16 down


def autocast(device: str, dtype: str) -> contextlib.AbstractContextManager[Any]:
    """What a forward pass of `train` runs in; nothing at all in fp32."""
    chosen = AUTOCAST.get(dtype)
    return torch.autocast(torch.device(device).type, chosen, enabled=chosen is not None)


class TrainStep:
    """Forward, backward and AdamW step on one batch. The learning rate is 0: the same work, the same weights after.

    The first call repeats the step until the loss's scale fits: a step whose gradients overflow is skipped, and has
    neither the time nor the memory of one that is not.

    Args:
        function: the module, or what was compiled from it.
        module: whose parameters are updated; fp32.
        data: (B, ...) fp32 on the module's device.
        dtype: of the products, as in `train --dtype`.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], module: nn.Module, data: Tensor, dtype: str) -> None:
        self._function, self._data, self._dtype = function, data, dtype
        self._optimizer = torch.optim.AdamW(module.parameters(), lr=0.0)
        self._scaler = torch.amp.GradScaler(data.device.type, enabled=dtype == "fp16")
        self._target = torch.arange(len(data), device=data.device) % NUM_CLASSES
        self._loss: Tensor | None = None
        self._is_settled = False

    def __call__(self) -> None:
        if self._is_settled:
            return self._step()
        for _ in range(MOST_HALVINGS):
            scale = self._scaler.get_scale()
            self._step()
            if self._scaler.get_scale() >= scale:
                break
        self._is_settled = True
        return None

    def phases(self) -> Mapping[str, Callable[[], object]]:
        """The three phases by name, in order."""
        return {"forward": self._forward, "backward": self._backward, "optimizer": self._update}

    def _step(self) -> None:
        for phase in self.phases().values():
            phase()

    def _forward(self) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        with autocast(str(self._data.device), self._dtype):
            output = self._function(self._data).float()
            if output.ndim == 2:
                self._loss = nn.functional.cross_entropy(output, self._target % output.shape[1])
            else:
                self._loss = output.square().mean()  # a mixer has no classes

    def _backward(self) -> None:
        assert self._loss is not None
        self._scaler.scale(self._loss).backward()  # type: ignore[no-untyped-call]
        self._loss = None

    def _update(self) -> None:
        self._scaler.step(self._optimizer)
        self._scaler.update()
