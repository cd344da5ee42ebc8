"""A forward pass that stops at chosen modules: what goes into one is looked at while it is there, and not kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from stmbench.analyses.affinity.layers import Layer
from stmbench.analyses.feature_layouts import first_tensor
from stmbench.analyses.subjects import Subject
from stmbench.architectures.module_copies import feature_source
from stmbench.errors import UnitError
from stmbench.mixers.affinity import has_affinity

Look = Callable[[Layer, nn.Module, Tensor], None]  # the layer, its module, what goes into it


class _SeenAll(Exception):  # noqa: N818 - not an error
    """Ends a forward pass after the last module that is looked at."""


class CalledModule(nn.Module):
    """A module as a function of the tensor that it was called with, which may come under several arguments.

    The other arguments stay what they were; of several outputs the first counts.
    """

    def __init__(self, module: nn.Module, x: Tensor, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        super().__init__()
        self.module, self._x, self._arguments, self._named = module, x, arguments, named

    def forward(self, x: Tensor) -> Tensor:
        """What the module makes of `x` in place of the tensor that it was called with."""
        arguments = [x if argument is self._x else argument for argument in self._arguments]
        named = {key: x if argument is self._x else argument for key, argument in self._named.items()}
        found = first_tensor(self.module(*arguments, **named))
        if found is None:
            raise UnitError(f"expected a tensor from {type(self.module).__name__}, got none; name another module")
        return found


def visit(subject: Subject, layers: Sequence[tuple[Layer, str]], pixels: Tensor, look: Look) -> None:
    """Run the model on a batch, and call `look` at each module when the pass comes to it.

    Args:
        layers: with the dotted path of the module that is looked at (the mixer, or what is around it).
        pixels: (B, 3, H, W) in [0, 1].
        look: gets the module's input without a graph; gradients are off, and may be switched on. In place of a given
            model's module it gets one of that input alone, which passes on whatever else the module was called with.
    """
    is_given = feature_source(subject.model) is not None
    left = {layer.number for layer, _ in layers}
    handles = []

    def hook(layer: Layer) -> Callable[..., None]:
        def stop(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
            if layer.number not in left:  # what looks at a module may run it again
                return
            left.discard(layer.number)
            x = first_tensor((inputs, named))
            assert x is not None, "seen when the layers were listed"
            plain = not is_given or has_affinity(module)
            look(layer, module if plain else CalledModule(module, x, inputs, named), x)
            if not left:
                raise _SeenAll

        return stop

    try:
        for layer, path in layers:
            module = subject.model.get_submodule(path)
            handles.append(module.register_forward_pre_hook(hook(layer), with_kwargs=True))
        with torch.no_grad():
            subject.model(subject.input(pixels))
    except _SeenAll:
        pass
    finally:
        for handle in handles:
            handle.remove()
