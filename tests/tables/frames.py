"""A realistic profile of five mixers, made up: what the tests of tables, figures and reporting work on."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd

from stmbench.tables import Row, frame_of

WHEN = datetime.datetime(2026, 3, 14, 9, 26, 53, tzinfo=datetime.timezone.utc)
SAMPLES = 12
MIXERS: dict[str, dict[str, Any]] = {
    "halo_attn": {"title": "Halo attention", "abbreviation": "Halo-Attn", "palette_slot": 0},
    "sr_attn": {"title": "Spatial reduction attention", "abbreviation": "SR-Attn", "palette_slot": 1},
    "sw_attn": {"title": "Shifted window attention", "abbreviation": "SW-Attn", "palette_slot": 2},
    "dw_conv": {"title": "Depthwise convolution", "abbreviation": "DW-Conv", "palette_slot": 3},
    "dcnv3": {"title": "Deformable convolution v3", "abbreviation": "DCNv3", "palette_slot": 4},
}
#            params M, macs G, activations M, images/s, peak MiB
COSTS = {
    "halo_attn": (4.36, 0.847, 6.9, 61.0, 412.0),
    "sr_attn": (4.45, 0.612, 5.1, 118.0, 251.0),
    "sw_attn": (4.44, 0.701, 6.2, 97.0, 305.0),
    "dw_conv": (4.42, 0.648, 5.8, 131.0, 268.0),
    "dcnv3": (4.39, 0.661, 7.4, 52.0, 377.0),
}
PARTS = {"stem": 0.09, "transitions": 0.12, "mixers": 0.31, "mlps": 0.40, "norms": 0.05, "head": 0.03}
PROBE_PEAK, PROBE_BANDWIDTH = 96e9, 21e9


def profile_rows(mixers: list[str] | None = None, *, scale: str = "micro", raw: bool = True) -> list[Row]:
    """Rows of one interleaved profile, with raw samples and summaries, ratios to the first model, and the probe."""
    chosen = list(MIXERS) if mixers is None else mixers
    random = np.random.default_rng(0)
    rows: list[Row] = [
        _row(None, metric="probe_peak", unit="MAC/s", value=PROBE_PEAK, ci_low=93e9, ci_high=98e9),
        _row(None, metric="probe_bandwidth", unit="bytes/s", value=PROBE_BANDWIDTH, ci_low=20e9, ci_high=22e9),
    ]
    fastest = sorted(chosen, key=lambda mixer: -COSTS[mixer][3])
    for mixer in chosen:
        rows += _costs(mixer, scale)
        rows += _timings(mixer, scale, random, raw)
        rows += _parts(mixer, scale)
        rows += _ranks(mixer, scale, fastest)
        if mixer != chosen[0]:
            ratio = COSTS[mixer][3] / COSTS[chosen[0]][3]
            unresolved = {"status": "imprecise", "reason": "the interval is 0.061 wide after 120 s"}
            rows.append(
                _row(
                    mixer,
                    scale,
                    metric="throughput_ratio",
                    unit="1",
                    value=ratio,
                    ci_low=0.985 * ratio,
                    ci_high=1.016 * ratio,
                    num_samples=SAMPLES,
                    baseline=f"unified_{chosen[0]}_{scale}",
                    batch_size=64,
                    **(unresolved if mixer == "dcnv3" else {}),
                )
            )
    return rows


def profile_frame(mixers: list[str] | None = None, **options: Any) -> pd.DataFrame:
    """`profile_rows` as a frame with the attrs that a store gives."""
    return with_attrs(frame_of(profile_rows(mixers, **options)))


def with_attrs(frame: pd.DataFrame) -> pd.DataFrame:
    """The same frame with a store's attrs."""
    frame.attrs.update(mixers=MIXERS, commits={"f0800b5": len(frame)}, machines=[], unreadable=[])
    return frame


def failed_row(model: str = "unified_dcnv3_huge", *, status: str = "failed", reason: str = "out of memory") -> Row:
    """One unit that did not work."""
    return _row(None, model=model, status=status, reason=reason)


def _row(mixer: str | None, scale: str = "micro", **fields: Any) -> Row:
    identity: dict[str, Any] = {}
    if mixer is not None:
        identity = {
            "model": f"unified_{mixer}_{scale}",
            "architecture": "unified",
            "mixer": mixer,
            "scale": scale,
            "weights": "random:0",
        }
    common: dict[str, Any] = {
        "run_id": "20260314T092653-ab12",
        "created_utc": WHEN,
        "kind": "summary",
        "analysis": "profile",
        "definition": "profile.v2",
        "seed": 0,
        "device": "cpu",
        "dtype": "fp32",
        "compile": False,
        "resolution": 224,
    }
    return Row(**{**common, **identity, **fields})


def _costs(mixer: str, scale: str) -> list[Row]:
    params, macs, activations, throughput, peak = COSTS[mixer]
    values = {
        "params": ("count", params * 1e6),
        "macs": ("MAC", macs * 1e9),
        "macs_published_convention": ("MAC", 0.93 * macs * 1e9),
        "activations": ("count", activations * 1e6),
        "peak_memory": ("bytes", peak * 2**20),
        "achieved_macs_per_second": ("MAC/s", macs * 1e9 * throughput),
        "arithmetic_intensity": ("MAC/byte", macs * 1e9 / (activations * 1e6 * 4 + params * 4e6 / 64)),
        "peak_share": ("1", macs * 1e9 * throughput / PROBE_PEAK),
    }
    return [
        _row(
            mixer,
            scale,
            metric=metric,
            unit=unit,
            value=value,
            **({"ci_low": 0.99 * value, "ci_high": 1.01 * value} if metric == "achieved_macs_per_second" else {}),
        )
        for metric, (unit, value) in values.items()
    ]


def _timings(mixer: str, scale: str, random: np.random.Generator, raw: bool) -> list[Row]:
    throughput = COSTS[mixer][3]
    rows = []
    if raw:
        samples = throughput * (1 + 0.015 * random.standard_normal(SAMPLES))
        rows += [
            _row(mixer, scale, kind="raw", metric="throughput", unit="images/s", value=v, sample=i, batch_size=64)
            for i, v in enumerate(samples)
        ]
    interval = {"ci_low": 0.985 * throughput, "ci_high": 1.014 * throughput, "num_samples": SAMPLES}
    rows.append(
        _row(mixer, scale, metric="throughput", unit="images/s", value=throughput, batch_size=64, **interval),
    )
    for condition, factor in (("p50", 1.35), ("p90", 1.5), ("p99", 2.1)):
        value = factor / throughput
        rows.append(
            _row(
                mixer,
                scale,
                metric="latency",
                unit="s",
                value=value,
                condition=condition,
                batch_size=1,
                ci_low=value * 0.97,
                ci_high=value * 1.05,
                num_samples=40,
            )
        )
    return rows


def _parts(mixer: str, scale: str) -> list[Row]:
    params, macs, _, throughput, _ = COSTS[mixer]
    rows = []
    for part, share in PARTS.items():
        rows.append(_row(mixer, scale, metric="part_macs", unit="MAC", value=share * macs * 1e9, condition=part))
        rows.append(_row(mixer, scale, metric="part_params", unit="count", value=share * params * 1e6, condition=part))
        rows.append(_row(mixer, scale, metric="part_time", unit="s", value=share / throughput, condition=part))
    return rows


def _ranks(mixer: str, scale: str, fastest: list[str]) -> list[Row]:
    place = fastest.index(mixer)
    weights = {rank: {0: 0.9, 1: 0.05}.get(abs(rank - place), 0.0) for rank in range(len(fastest))}
    total = sum(weights.values())
    return [
        _row(mixer, scale, metric="rank_probability", unit="1", value=weight / total, level=float(rank + 1))
        for rank, weight in weights.items()
    ]
