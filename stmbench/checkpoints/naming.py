"""Names of tensors without what wrappers put before them, and without what profilers count beside them."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from stmbench.errors import CheckpointError

PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "encoder.")
_PREFIX = re.compile(rf"^(?:{'|'.join(map(re.escape, PREFIXES))})+")
# these wrap submodules too, and no model has them in a name of its own
_WITHIN = re.compile(r"(?<![^.])(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
# thop's and PyTorch's AveragedModel's
_COUNTER = re.compile(r"(?:^|\.)(?:total_ops|total_params|n_averaged)$")


def plain(name: str) -> str:
    """The name without prefixes, in any order and however often: `module._orig_mod.model.fc.weight` is `fc.weight`."""
    return _PREFIX.sub("", _WITHIN.sub("", name))


def is_counter(name: str) -> bool:
    """Whether the name is that of a number that somebody counted, and no weight."""
    return _COUNTER.search(name) is not None


def plain_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by plain name, without counters.

    Raises:
        CheckpointError: two tensors that differ and have one plain name.
    """
    found: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    for name, value in state.items():
        if is_counter(name):
            continue
        short = plain(name)
        if short in found and not _are_same(found[short], value):
            got = f"{origin[short]} and {name}, which differ"
            raise CheckpointError(f"one tensor called {short}", got, "leave the weights of one model in the file")
        found[short], origin[short] = value, name
    return found


def _are_same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)
