"""Time by part of the network (stem, transitions, mixers, mlps, norms, head), through hooks on its modules.

A stamp is taken wherever execution crosses from one part into another; what lies between two stamps belongs to the
innermost part that is running. What belongs to none (residual sums, layer scale, drop path) is 'other', so that the
parts add up to the whole. Compiled graphs have no modules to hook: parts are timed eagerly.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from stmbench.measure.clock import Timer

OTHER = "other"


def part_of(path: str, parts: Mapping[str, str]) -> str | None:
    """The part whose pattern matches a dotted module path in full; None where none does."""
    return next((name for name, pattern in parts.items() if re.fullmatch(pattern, path)), None)


def borders(model: nn.Module, parts: Mapping[str, str]) -> dict[str, str]:
    """Module path -> part, for the modules at which execution enters a part: those whose parent is of another one."""
    found: dict[str, str] = {}
    inherited: dict[str, str | None] = {"": None}
    for path, module in model.named_modules():
        if not path:
            continue
        outer = inherited[path.rpartition(".")[0]]
        own = part_of(path, parts)
        inherited[path] = own or outer
        # containers that are never called (a list, a dict) have no forward pass to hook
        if own is not None and own != outer:
            if isinstance(module, nn.ModuleList | nn.ModuleDict):
                inherited[path] = outer
            else:
                found[path] = own
    return found


class PartClock:
    """Hooks on a model's part borders; `measure(run)` gives seconds by part for one call of `run`."""

    def __init__(self, model: nn.Module, parts: Mapping[str, str], timer: Timer) -> None:
        self._timer = timer
        self._stack: list[str] = [OTHER]
        self._marks: list[tuple[str, Any]] = []  # (part that ends here, stamp)
        modules = dict(model.named_modules())
        self._handles = []
        for path, part in borders(model, parts).items():
            self._handles.append(modules[path].register_forward_pre_hook(self._enter(part)))
            self._handles.append(modules[path].register_forward_hook(self._leave()))

    def measure(self, run: Callable[[], object]) -> dict[str, float]:
        """Seconds by part, 'other' included; they add up to the seconds of `run`."""
        self._timer.synchronize()
        self._stack, self._marks = [OTHER], []
        start = self._timer.stamp()
        run()
        self._marks.append((OTHER, self._timer.stamp()))
        seconds: dict[str, float] = {}
        for part, stamp in self._marks:
            seconds[part] = seconds.get(part, 0.0) + self._timer.between(start, stamp)
            start = stamp
        return seconds

    def remove(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()

    def _enter(self, part: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _arguments: object) -> None:
            self._marks.append((self._stack[-1], self._timer.stamp()))
            self._stack.append(part)

        return hook

    def _leave(self) -> Callable[..., None]:
        def hook(_module: nn.Module, _arguments: object, _output: object) -> None:
            self._marks.append((self._stack.pop(), self._timer.stamp()))

        return hook
