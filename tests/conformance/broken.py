"""Mixers that break one promise each. The suite has to find the promise, and no other."""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import Tensor, nn

from stmbench.mixers.base import BlockPosition, MixerEntry, ZeroGradient
from tests.conformance.broken_configs import Counted, Credulous, Open, Restless
from tests.conformance.broken_gradients import (
    CutFromItsInput,
    DeadParameter,
    DeadThird,
    InfiniteGradient,
    UsesTheLastGraph,
)
from tests.conformance.sound import Config, Sound


class LosesARow(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[:, 1:].contiguous()


class OnlySquare(Sound):
    def forward(self, x: Tensor) -> Tensor:
        batch, height, _, dim = x.shape
        return super().forward(x).reshape(batch, height, height, dim)


class MadeForTheDesignSize(Sound):
    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.crop = {32: 56, 64: 28, 128: 14, 256: 7}[config.dim]

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[:, : self.crop, : self.crop].contiguous()


class AlwaysSingle(Sound):
    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y.float() if y.dtype == torch.float64 else y


class NoKernelForDouble(Sound):
    """One unsupported dtype is one failure, though every comparison of numbers is made in it."""

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype == torch.float64:
            raise RuntimeError("\"mix\" not implemented for 'Double'")
        return super().forward(x)


class ChannelsFirstInMemory(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)


class WritesIntoItsInput(Sound):
    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        if not x.requires_grad:
            x.mul_(2)
        return y


class RandomAtEval(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (1 + 0.1 * torch.rand(x.shape[-1], dtype=x.dtype))


class LeaksAcrossTheBatch(Sound):
    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y + 0.1 * y.mean(0, keepdim=True)

    def reference(self, x: Tensor) -> Tensor:
        return self.forward(x)


class ReferenceWritesIntoAView(Sound):
    """Autograd refuses to write into one of several views that were made without it."""

    def reference(self, x: Tensor) -> Tensor:
        y = self.forward(x)
        with torch.no_grad():
            rows = y.new_zeros(y.shape).unbind(1)
        for place, row in zip(rows, y.unbind(1), strict=True):
            place.copy_(row)
        return torch.stack(rows, 1)


class NanInBfloat16(Sound):
    """1e-3 is lost beside 1 in bfloat16, and 0 / 0 is left."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        small = (torch.ones_like(y) + 1e-3) - 1
        return y * (small / small)

    def reference(self, x: Tensor) -> Tensor:
        return self.forward(x)


class NoAutocast(Sound):
    """Adds in place into a buffer of the input's dtype, with an operation that will not convert."""

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(0, 2)
        return super().forward(x) + 0 * torch.empty_like(flat).copy_(flat).index_add_(
            0, torch.arange(len(flat)), self.proj(flat)
        ).reshape(x.shape)

    def macs(self, height: int, width: int) -> int:
        return super().macs(height, width) + height * width * self.config.dim**2


class WrongReference(Sound):
    def reference(self, x: Tensor) -> Tensor:
        return super().forward(x) * (1 + 1e-6)


class AnotherPathForTraining(Sound):
    """The fast path of inference is right, the one that is differentiated is not."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y if not torch.is_grad_enabled() else y * (1 + 1e-6)


class WrongMacs(Sound):
    def macs(self, height: int, width: int) -> int:
        return 2 * super().macs(height, width)


class ForgetsInACopy(Sound):
    """State outside parameters and buffers: a state dict does not carry it."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.gain = float(torch.rand(()))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.gain

    def reference(self, x: Tensor) -> Tensor:
        return self.forward(x)


class CachesAWeight(Sound):
    """A function of its weights that is computed once, so that weights which are loaded later do not count."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.gain = nn.Parameter(torch.ones(config.dim))
        self.cached: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.training or torch.is_grad_enabled() or x.dtype != self.gain.dtype:
            return super().forward(x) * self.gain.exp()
        if self.cached is None:
            self.cached = self.gain.exp()
        return super().forward(x) * self.cached

    def reference(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.gain.exp()


class HoldsALock(Sound):
    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.lock = threading.Lock()


class SwallowsOptions(Sound):
    def forward(self, x: Tensor, **_: Any) -> Tensor:
        return super().forward(x)


def entry(module: type[nn.Module], config: Any = Config, **facts: Any) -> MixerEntry:
    """An entry that is in no registry."""

    def config_at(position: BlockPosition) -> Any:
        return config(dim=position.dim)

    told: dict[str, Any] = {"config_at": config_at, "title": "Broken", "abbreviation": "B", "family": "none"}
    told.update({"sampling": "local", "weights": "static", **facts})
    return MixerEntry(name="broken", module=module, config=config, **told)


BROKEN: dict[str, MixerEntry] = {
    "shape": entry(LosesARow),
    "any_size": entry(OnlySquare),
    "any_size (crops)": entry(MadeForTheDesignSize),
    "dtype": entry(AlwaysSingle),
    "dtype (no kernel)": entry(NoKernelForDouble),
    "layout": entry(ChannelsFirstInMemory),
    "input_untouched": entry(WritesIntoItsInput),
    "deterministic": entry(RandomAtEval),
    "batch_independent": entry(LeaksAcrossTheBatch),
    "gradients": entry(DeadParameter),
    "gradients (a part)": entry(DeadThird),
    "gradients (infinite)": entry(InfiniteGradient),
    "gradients (declared zero, but learns)": entry(
        Sound, zero_gradient=(ZeroGradient(parameter="conv.bias", part="all", reason="said so", whole=True),)
    ),
    "gradients (declared zero, but absent)": entry(
        Sound, zero_gradient=(ZeroGradient(parameter="kv.bias", part="keys", reason="another mixer's"),)
    ),
    "input_gradient": entry(CutFromItsInput),
    "bfloat16": entry(NanInBfloat16),
    "autocast": entry(NoAutocast),
    "reference": entry(WrongReference),
    "reference (with gradients)": entry(AnotherPathForTraining),
    "reference (its own gradients)": entry(ReferenceWritesIntoAView),
    "macs": entry(WrongMacs),
    "copies": entry(ForgetsInACopy),
    "copies (of a cache)": entry(CachesAWeight),
    "copies (refuses)": entry(HoldsALock),
    "second_step": entry(UsesTheLastGraph),
    "frozen_config": entry(Sound, Open),
    "config_refuses_nonsense": entry(Sound, Credulous),
    "config_at_is_a_function": entry(Sound, Counted, config_at=Restless()),
    "config_at_is_a_function (swallows)": entry(SwallowsOptions),
}
