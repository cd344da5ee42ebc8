"""BatchNorm over the batches of all processes together, on any backend and in any layout.

torch's SyncBatchNorm refuses tensors on a CPU; and timm's conversion to it would replace a norm of (B, H, W, C) maps by
one of (B, C, H, W) maps. Here a module keeps its forward pass, and only what it calls BatchNorm changes: on a GPU it is
torch's, with its kernels.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.distributed as dist
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn

from stmbench.training.distributed import ProcessGroup


def synchronised(model: nn.Module, group: ProcessGroup) -> nn.Module:
    """The model with its BatchNorms synchronised; names of parameters and buffers stay. As it is for one process."""
    if group.size > 1:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.__class__ = _synchronised_class(type(module))
    return model


class SynchronisedBatchNorm(nn.BatchNorm2d):
    """(B, C, H, W) -> the same, normalised by the moments of all processes in training."""

    process_group = None  # with the next one, what torch's own forward pass needs of its module
    _check_non_zero_input_channels = nn.SyncBatchNorm._check_non_zero_input_channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        if not self.training:
            return nn.BatchNorm2d.forward(self, x)  # not the next class's, which may bring an activation
        if x.device.type == "cuda":
            return nn.SyncBatchNorm.forward(cast(nn.SyncBatchNorm, self), x)
        # sums of half precision lose digits; torch's own norm adds up in float32 too
        values = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        mean, variance, count = moments(values)
        self._follow(mean.detach(), variance.detach() * count / (count - 1))
        inverse = torch.rsqrt(variance + self.eps)
        gain = inverse if self.weight is None else inverse * self.weight
        bias = -mean * gain if self.bias is None else self.bias - mean * gain
        shape = (1, -1, 1, 1)
        return torch.addcmul(bias.view(shape), values, gain.view(shape)).to(x.dtype)

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics, as torch does: the variance is the unbiased one."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


class _WithActivation(SynchronisedBatchNorm):
    """timm's norm with an activation, which calls no `super().forward` that could be replaced."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        module = cast(BatchNormAct2d, self)
        return cast(Tensor, module.act(module.drop(super().forward(x))))


def moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(C,) mean, (C,) biased variance and () count over all processes of x (B, C, H, W); differentiable.

    The mean first, then the squared distances from it: the difference of two large sums would lose digits.
    """
    count = torch.full((1,), x.numel() / x.shape[1], dtype=x.dtype, device=x.device)
    total = all_reduce(torch.cat([x.sum((0, 2, 3)), count]))
    mean = total[:-1] / total[-1]
    squares = all_reduce((x - mean.view(1, -1, 1, 1)).square().sum((0, 2, 3)))
    return mean, squares / total[-1], total[-1].detach()


def all_reduce(values: Tensor) -> Tensor:
    """The sum over all processes, differentiable."""
    return cast(Tensor, _Sum.apply(values))


class _Sum(torch.autograd.Function):
    """Each process's values are in every process's sum, so their gradient is the sum of all gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.forward(ctx, gradient)


def _synchronised_class(kind: type[nn.BatchNorm2d]) -> type[nn.BatchNorm2d]:
    """The class with `SynchronisedBatchNorm` before torch's in its bases, so that its `super().forward` is ours."""
    bases: tuple[type[nn.BatchNorm2d], ...]
    if issubclass(kind, BatchNormAct2d):
        bases = (_WithActivation, kind)
    elif kind is nn.BatchNorm2d:
        bases = (SynchronisedBatchNorm,)
    else:
        bases = (kind, SynchronisedBatchNorm)
    return type(f"Synchronised{kind.__name__}", bases, {})
