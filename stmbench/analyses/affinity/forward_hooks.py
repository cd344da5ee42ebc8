"""A forward pass that stops at chosen modules: what goes into one is looked at while it is there, and not kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from stmbench.analyses.affinity.layers import Layer
from stmbench.analyses.subjects import Subject

Look = Callable[[Layer, nn.Module, Tensor], None]  # the layer, its module, what goes into it


class _SeenAll(Exception):  # noqa: N818 - not an error
    """Ends a forward pass after the last module that is looked at."""


def visit(subject: Subject, layers: Sequence[tuple[Layer, str]], pixels: Tensor, look: Look) -> None:
    """Run the model on a batch, and call `look` at each module when the pass comes to it.

    Args:
        layers: with the dotted path of the module that is looked at (the mixer, or what is around it).
        pixels: (B, 3, H, W) in [0, 1].
        look: gets the module's input without a graph; gradients are off, and may be switched on.
    """
    left = {layer.number for layer, _ in layers}
    handles = []

    def hook(layer: Layer) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def stop(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if layer.number not in left:  # what looks at a module may run it again
                return
            left.discard(layer.number)
            look(layer, module, inputs[0])
            if not left:
                raise _SeenAll

        return stop

    try:
        for layer, path in layers:
            handles.append(subject.model.get_submodule(path).register_forward_pre_hook(hook(layer)))
        with torch.no_grad():
            subject.model(subject.input(pixels))
    except _SeenAll:
        pass
    finally:
        for handle in handles:
            handle.remove()
