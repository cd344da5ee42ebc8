"""Classes of files that are not in the project, for `authors_peers`: imported, built, and compared with our mixer.

Before a module is timed, its weights are loaded into our mixer and both outputs compared: only the same computation is
timed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.util
import io
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.newer_peers import Call, Peer
from stmbench.checkpoints import load_checkpoint
from stmbench.mixers.base import BlockPosition

TOLERANCE = 1e-4


class NoPeerError(Exception):
    """A file that is missing, or does not import."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AuthorsModule:
    """One class or function of one file.

    Attributes:
        build: the module from the class, our mixer and its position.
        call: what it computes of its input, where that is not its `forward`.
        takes: "BHWC", "BCHW" or "BNC".
        of: the mixer's configs that it is a peer of.
        options: of the model, where the authors' module is narrower than our default.
        stand_ins: modules that the file imports and the class does not use.
        inference_only: its backward pass takes minutes.
    """

    repository: str
    path: str
    name: str
    build: Callable[[Any, Any, BlockPosition], nn.Module]
    call: Callable[[Any, Tensor], Tensor] | None = None
    takes: str = "BHWC"
    of: Callable[[Any], bool] = lambda config: True
    options: str = ""
    stand_ins: tuple[str, ...] = ()
    inference_only: bool = False


class StandIn(types.ModuleType):
    """A module of which every name is None."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


@contextlib.contextmanager
def standing_in(names: tuple[str, ...]) -> Iterator[None]:
    """Modules of these names that can be imported from."""
    added = {name: StandIn(name) for name in names if name not in sys.modules}
    sys.modules.update(added)
    try:
        yield
    finally:
        for name in added:
            del sys.modules[name]


@functools.cache
def imported(file: Path, stand_ins: tuple[str, ...]) -> types.ModuleType:
    """The file as a module, without what it prints and warns of. Raises NoPeerError."""
    spec = importlib.util.spec_from_file_location(f"authors_{file.stem.strip('_')}", file)
    if not file.is_file() or spec is None or spec.loader is None:
        raise NoPeerError(f"{file} is missing")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # timm registers models by the module they are defined in
    try:
        with quiet(), standing_in(stand_ins):
            spec.loader.exec_module(module)
    except ImportError as error:
        raise NoPeerError(f"{file} does not import: {error}") from error
    return module


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without output and warnings: modules report their sizes."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def as_peer(entry: AuthorsModule, module: nn.Module) -> Peer:
    """The module behind the layout that it takes."""
    call = entry.call or (lambda inner, x: inner(x))
    if entry.takes == "BNC":
        return Call(module, lambda inner, x: call(inner, x.flatten(1, 2)).view_as(x)), False
    return Call(module, call), entry.takes == "BCHW"


def check_same(ours: nn.Module, theirs: nn.Module, peer: Peer, position: BlockPosition) -> None:
    """Assert that both compute the same, with weights of theirs that are nowhere zero."""
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    weights = theirs.inner if isinstance(theirs, Call) else theirs
    load_checkpoint(ours.eval(), dict(weights.state_dict()))
    x = torch.randn(2, *position.resolution, position.dim)
    module, channels_first = peer
    with torch.no_grad():
        y = module.eval()(x.permute(0, 3, 1, 2).contiguous() if channels_first else x)
        expected = ours(x)
    error = ((y.permute(0, 2, 3, 1) if channels_first else y) - expected).abs().max() / expected.abs().max()
    assert error < TOLERANCE, f"{type(theirs).__name__} computes something else: {error:.1e} at {position}"
