"""The authors' mixers under deterministic weights: load their state dict into ours, and compare the outputs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from stmbench.checkpoints import load_checkpoint
from tests.data.golden.fill import fill
from tests.data.paths import GOLDEN

CHANNELS: Final = 64
EXACT: Final = 1e-11  # of the output's norm, in float64: what is left is the order of sums
Shapes = Mapping[str, tuple[int, ...]]


def case(name: str) -> dict[str, Any]:
    """What is recorded of one module of the authors: source, arguments, layout, note, parameters, keys, outputs."""
    found: dict[str, Any] = json.loads((GOLDEN / "mixers.json").read_text())["mixers"][name]
    return found


def published_state(name: str, shapes: Shapes | None = None) -> dict[str, Tensor]:
    """The authors' state dict with the values of fill.py; `shapes` of tensors that depend on the map replace those of
    the first output."""
    keys = {**case(name)["keys"], **(shapes or {})}
    return {key: torch.from_numpy(np.asarray(fill(key, tuple(shape)))) for key, shape in keys.items()}


def check_golden(
    name: str,
    build: Callable[[int, int], nn.Module],
    *,
    shapes: Callable[[int, int], Shapes] | None = None,
    limit: float = EXACT,
) -> None:
    """Assert that a module with the authors' state dict gives the authors' outputs.

    Args:
        name: of the case.
        build: (H, W) -> our module for maps of that size, (2, H, W, 64) -> (2, H, W, 64).
        shapes: (H, W) -> the authors' shapes of tensors that depend on it.
        limit: of the differences, relative to the output's norm.
    """
    golden = case(name)
    outputs = golden["outputs"]
    if isinstance(outputs, str):  # not recorded here: at least the weights fit, and all of them are used
        outputs = [{"input": [2, 14, 14, CHANNELS]}]
    for expected in outputs:
        _, height, width, _ = size = expected["input"]
        module = build(height, width).double().eval()
        load_checkpoint(module, published_state(name, shapes(height, width) if shapes else None))
        if (height, width) == (14, 14):
            assert sum(p.numel() for p in module.parameters()) == golden["parameters"]
        x = torch.from_numpy(np.random.RandomState(0).standard_normal(size))
        seen = torch.from_numpy(np.random.RandomState(1).standard_normal(size))
        with torch.inference_mode():
            y = module(x)
        assert y.shape == x.shape
        assert bool(torch.isfinite(y).all())
        if "norm" not in expected:
            continue
        norm = expected["norm"]
        flat = y.flatten()
        got = {
            "norm": float(y.norm()),
            "mean_abs": float(y.abs().mean()),
            "first8": flat[:8].tolist(),
            "last4": flat[-4:].tolist(),
            "projection": float((y * seen).sum()),
        }
        for key, value in got.items():
            differences = np.abs(np.asarray(value) - np.asarray(expected[key]))
            assert differences.max() <= limit * norm, (name, size, key, value, expected[key])
