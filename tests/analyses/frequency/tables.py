"""Rows of the analysis and the arrays beside them, with values that can be looked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stmbench.analyses.frequency.options import (
    ACCURACY,
    ALL_MIXERS,
    AMPLITUDE,
    BAND,
    BLOCK,
    CHANGE,
    CHANGED,
    CLEAN,
    CONSISTENCY,
    ERROR,
    MIXER,
    NAME,
    SPECTRA_DEFINITION,
)
from stmbench.tables import Row, frame_of
from tests.tables.frames import WHEN

MIXERS = ("sw_attn", "dw_conv")


def table(
    folder: Path, *, weights: str = "digits.e1.s0:abc", labelled: bool = True, resnet: bool = False
) -> pd.DataFrame:
    """Two models (and one of timm's at another resolution, whose mixers are not known), two stages of two blocks."""
    rows: list[Row] = []
    for place, mixer in enumerate(MIXERS):
        known = _known(f"unified_{mixer}_nano", weights, 32) | {"architecture": "unified", "mixer": mixer}
        rows += _spectral(known, place, mixers=True) + _answers(known, place, folder, labelled)
    if resnet:
        known = _known("timm:resnet18", weights, 224) | {"architecture": "timm", "scale": None}
        rows += _spectral(known, 2, mixers=False) + _answers(known, 2, folder, labelled)
    frame = frame_of(rows)
    frame.attrs["mixers"] = {
        "sw_attn": {"abbreviation": "SW-Attn", "palette_slot": 2},
        "dw_conv": {"abbreviation": "DW-Conv", "palette_slot": 3},
    }
    return frame


def _known(model: str, weights: str, side: int) -> dict[str, Any]:
    return {
        "run_id": "r", "created_utc": WHEN, "kind": "summary", "analysis": NAME, "scale": "nano", "seed": 0,
        "model": model, "weights": weights, "dataset": "digits:abc", "num_images": 10, "resolution": side, "unit": "1",
        "dtype": "fp32", "device": "cpu", "definition": SPECTRA_DEFINITION, "num_samples": 10,
    }  # fmt: skip


def _row(known: dict[str, Any], metric: str, value: float, width: float = 0.05, **columns: Any) -> Row:
    return Row(
        **{**known, "metric": metric, "value": value, "ci_low": value - width, "ci_high": value + width, **columns}
    )


def _spectral(known: dict[str, Any], place: int, *, mixers: bool) -> list[Row]:
    rows = []
    for stage in range(2):
        for block in range(2):
            at = {"stage": stage, "block": block, "level": 1.0}
            value = -3.0 + stage + 0.1 * block - 0.01 * place
            rows.append(_row(known, AMPLITUDE, value, condition=BLOCK, **at))
            if mixers:
                change = (-1.5 if place == 0 else 0.5) + 0.01 * block
                rows.append(_row(known, CHANGE, change, condition=MIXER, **at))
    if mixers:
        rows.append(_row(known, CHANGE, -1.5 if place == 0 else 0.5, condition=ALL_MIXERS))
    return rows


def _answers(known: dict[str, Any], place: int, folder: Path, labelled: bool) -> list[Row]:
    file = f"{known['model'].replace(':', '_')}.npz"
    maps = {CHANGED: np.full((3, 3), 0.25)}
    if labelled:
        maps[ERROR] = np.array([[0.1, 0.2, 0.1], [0.3, 0.4, 0.3], [0.1, 0.2, 0.1]]) + 0.1 * place
    np.savez(folder / file, rows=np.array([-16, 0, 16]), columns=np.array([-16, 0, 16]), norm=2.25, **maps)
    rows = [_row(known, metric, float(shares.mean()), artifact=file) for metric, shares in maps.items()]
    for level, value in ((0.25, 0.4), (0.75, 0.8)):
        at = {"condition": BAND, "level": level}
        rows.append(_row(known, CONSISTENCY, value + 0.1, **at))
        if labelled:
            rows.append(_row(known, ACCURACY, value + 0.01 * place, **at))
    if labelled:
        rows.append(_row(known, ACCURACY, 0.9, condition=CLEAN))
    return rows
