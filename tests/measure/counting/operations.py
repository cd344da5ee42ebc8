"""A module around a function, to count one operation at a time."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn


class Operation(nn.Module):
    """Applies a function to its input; other modules may be given by name, to be there as parameters."""

    def __init__(self, function: Callable[[Tensor], Tensor], **modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)
