"""Made-up result stores: a profile with its rounds and an evaluation with its predictions."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stmbench.analyses.robustness.outcomes import Outcomes
from stmbench.comparison.stored import StoredConfig, compare_stores
from stmbench.tables import Row, Store
from stmbench.tables.comparison_result import Comparison, Finding

WHEN = datetime.datetime(2026, 3, 14, 9, 26, 53, tzinfo=datetime.timezone.utc)
DW, HALO = "unified_dw_conv_nano", "unified_halo_attn_nano"
MACHINE = {"cpu": "A Processor", "logical_cores": 2}
SOFTWARE = {"python": "3.11.1", "torch": "2.5.0", "commit": "a" * 40, "dirty": False}


def row(**fields: Any) -> Row:
    """A row of the profile of DW, unless told otherwise."""
    common: dict[str, Any] = {
        "run_id": "20260314T092653-ab12",
        "created_utc": WHEN,
        "kind": "summary",
        "analysis": "profile",
        "definition": "profile.v2",
        "model": DW,
        "weights": "random:0",
        "seed": 0,
        "device": "cpu",
        "dtype": "fp32",
        "compile": False,
        "resolution": 32,
        "dataset": "noise:3x32x32",
    }
    return Row(**{**common, **fields})


def write(folder: Path, rows: list[Row], *, key: str = "part", **metadata: Any) -> Path:
    """A store with one more part; returns its folder."""
    known = {"machine": MACHINE, "software": SOFTWARE, "commit": SOFTWARE["commit"], **metadata}
    store = Store(folder)
    store.require_writable()
    store.write(key, rows, metadata=known)
    return folder


def costs(model: str = DW, *, params: float = 1e6, macs: float = 2e7) -> list[Row]:
    """What is counted, with a part of the network that is not compared."""
    exact = {"model": model, "device": None, "dtype": None, "compile": None}
    return [
        row(metric="params", unit="count", value=params, **exact),
        row(metric="macs", unit="MAC", value=macs, **exact),
        row(metric="part_macs", unit="MAC", value=macs / 3, condition="stem", **exact),
    ]


def rounds(model: str = DW, *, seconds: float = 0.01, load: float = 1.0, seed: int = 0, batch: int = 8) -> list[Row]:
    """Forty rounds of a model that takes `seconds` an image; `load` slows it and the probe down alike."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(40):
        slow = load * random.lognormal(0, 0.02)
        took = seconds * slow * random.lognormal(0, 0.01)
        raw = {"kind": "raw", "sample": number}
        rows += [
            row(model=model, metric="throughput", unit="images/s", value=1 / took, batch_size=batch, **raw),
            row(model=None, metric="probe_peak", unit="MAC/s", value=5e10 / slow, **raw),
            row(model=None, metric="probe_bandwidth", unit="bytes/s", value=2e10 / slow, **raw),
        ]
        rows += [
            row(
                model=model, metric="latency", unit="s", value=2 * took, batch_size=1, kind="raw", sample=4 * number + i
            )
            for i in range(4)
        ]
    return rows


def evaluation(folder: Path, correct: list[int], *, keep: bool = True, key: str = "eval") -> list[Row]:
    """Rows of an evaluation of DW on as many images as `correct` has; with `keep` its predictions lie beside them."""
    hits = np.asarray(correct, dtype=float)
    error = hits.std() / len(hits) ** 0.5
    known = {"analysis": "eval", "definition": "eval.v1", "dataset": "digits:ab", "split": "test"}
    known |= {"num_images": len(hits), "compile": None}
    ends = {"ci_low": hits.mean() - 1.96 * error, "ci_high": hits.mean() + 1.96 * error}
    rows = [row(metric="accuracy", unit="1", value=hits.mean(), **ends, **known)]
    if keep:
        artifact = Store(folder).artifact(key, "predictions.parquet")
        artifact.parent.mkdir(parents=True, exist_ok=True)
        table = {"index": range(len(hits)), "label": 0, "rank": 1 - hits.astype(int), "nll": 0.5, "brier": 0.2}
        pd.DataFrame(table).to_parquet(artifact)
        place = artifact.relative_to(folder).as_posix()
        rows.append(row(metric="predictions", unit="count", value=len(hits), kind="raw", artifact=place, **known))
    return rows


def probed(folder: Path, correct: list[int], *, keep: bool = True, key: str = "probe") -> list[Row]:
    """Rows of probes of DW: neighbours at k = 20 and a linear classifier that are right for the same queries."""
    hits = np.asarray(correct)
    artifact = Store(folder).artifact(key, "predictions.npz")
    if keep:
        artifact.parent.mkdir(parents=True, exist_ok=True)
        order = np.arange(len(hits))[::-1]  # in the store's order, whichever that is
        own = {"indices": order, "labels": np.ones_like(hits), "k20": hits[order], "linear": hits[order]}
        np.savez(artifact, **own)
    known = {"analysis": "probe", "dataset": "digits:ab", "split": "test", "num_images": len(hits), "unit": "1"}
    known |= {"value": hits.mean(), "ci_low": hits.mean() - 0.05, "ci_high": hits.mean() + 0.05, "compile": None}
    known |= {"artifact": artifact.relative_to(folder).as_posix(), "num_samples": len(hits)}
    return [
        row(metric="knn_accuracy", definition="probe.knn.v1", level=20, **known),
        row(metric="linear_accuracy", definition="probe.sgd100.v1", condition="sgd", **known),
    ]


def invariance(folder: Path, consistent: list[int], *, key: str = "curve") -> list[Row]:
    """A curve of two levels: every image agrees at 0, those in `consistent` at 8 too, so that areas differ by half."""
    same = np.stack([np.ones(len(consistent)), np.asarray(consistent, dtype=float)])
    area = same.mean(axis=0)
    artifact = Store(folder).artifact(key, "answers.npz")
    artifact.parent.mkdir(parents=True, exist_ok=True)
    images = np.arange(len(consistent))
    np.savez(artifact, indices=images, labels=images * 0, reference=images * 0 + 1, predicted=same.astype(int))
    known = {"analysis": "invariance_translation", "definition": "stmbench.v1", "dataset": "digits:ab", "split": "test"}
    known |= {"num_images": len(consistent), "compile": None, "artifact": artifact.relative_to(folder).as_posix()}
    ends = {"ci_low": area.mean() - 0.05, "ci_high": area.mean() + 0.05, "unit": "1", "condition": "eight directions"}
    levels = [
        row(metric="consistency", value=values.mean(), level=float(level), **known, **ends)
        for level, values in zip((0, 8), same, strict=True)
    ]
    return [*levels, row(metric="consistency_auc", value=area.mean(), level=8.0, **known, **ends)]


def attacked(folder: Path, left: list[int], *, own_labels: bool = False, key: str = "attack") -> list[Row]:
    """DW attacked at one eps, which leaves the images in `left`; the outcomes lie beside the rows."""
    hits = np.stack([np.ones(len(left)), np.asarray(left, dtype=float)])
    images, metric = np.arange(len(left)), "consistency" if own_labels else "accuracy"
    artifact = Store(folder).artifact(key, "predictions.npz")
    numbers = {"eps": np.array([0.01]), "indices": images, "labels": images * 0 + 3, "clean": images * 0 + 3}
    rest = {name: np.zeros(1) for name in ("reach", "low", "high", "probe", "zero_share")}
    outcomes = Outcomes(**numbers, adversarial=3 * hits[1:].astype(int), own_labels=own_labels, **rest)  # type: ignore[arg-type]
    outcomes.write(artifact)
    known = {"analysis": "robustness", "definition": "stmbench.fgsm.v1", "dataset": "digits:ab", "split": "test"}
    known |= {"num_images": len(left), "compile": None, "unit": "1", "metric": metric}
    place = artifact.relative_to(folder).as_posix()
    rows = []
    for level, value in ((0.0, 1.0), (0.01, hits[1].mean())):
        rows.append(row(value=value, level=level, kind="raw", artifact=place, **known))
        # a summary may be made by a later run
        ends = {"ci_low": max(0.0, value - 0.07), "ci_high": min(1.0, value + 0.07), "run_id": "20260315T092653-ab12"}
        rows.append(row(value=value, level=level, **{**known, **ends}))
    return rows


def failed(model: str = DW, *, reason: str = "out of memory", metric: str | None = "throughput") -> Row:
    """A unit that did not work."""
    unit = None if metric is None else "images/s"
    return row(model=model, metric=metric, unit=unit, kind="raw", status="failed", reason=reason)


def compared(tmp_path: Path, base: list[Row], head: list[Row], **options: float) -> Comparison:
    """Rows written to two stores and compared."""
    folders = write(tmp_path / "base", base), write(tmp_path / "head", head)
    return compare_stores(*folders, StoredConfig(**options))  # type: ignore[arg-type]


def only(comparison: Comparison, metric: str, model: str = DW) -> Finding:
    """The one finding of a metric."""
    (finding,) = [item for item in comparison.findings if (item.metric, item.model) == (metric, model)]
    return finding
