"""A store as one flat table: a row for each model, in the columns and units of timm's results.csv, then our own.

A model that was measured at several input sizes, or on several data sets, has a row for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pandas as pd

from stmbench.tables.labels import are_random, square_side

TIMM: Final = (
    *("model", "img_size", "top1", "top1_err", "top5", "top5_err", "param_count", "crop_pct", "interpolation"),
    *("infer_samples_per_sec", "infer_step_time", "infer_batch_size", "infer_img_size", "infer_gmacs", "infer_macts"),
)
OWN: Final = (
    *("dataset", "weights", "seeds", "infer_latency", "infer_peak_memory", "infer_device", "infer_dtype", "erf50"),
    *("linear_top1", "box_ap", "mask_ap"),
    *("translation_consistency", "rotation_consistency", "scale_consistency"),
    *("box_translation_consistency", "box_rotation_consistency", "box_scale_consistency"),
)  # then kNN and robustness: a column for each k, and for each attack and eps
ERF: Final = "stmbench.magnitude.linear.v1"  # the definition that ERFs are shown in
QUALITY: Final = (
    "eval",
    "probe",
    "detection",
    "robustness",
    "invariance_translation",
    "invariance_rotation",
    "invariance_scale",
    "box_consistency_translation",
    "box_consistency_rotation",
    "box_consistency_scale",
)


def flat_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Accuracies in %, parameters and activations in millions, MACs in billions, times in ms, memory in MiB.

    The newest value of each kind counts. Accuracies, ERFs and the like of several trainings are averaged; those of
    random weights are left out where a model was trained. Columns without a value are there, and empty.
    """
    rows = frame[(frame["kind"] == "summary") & frame["model"].notna() & frame["value"].notna()]
    rows = rows[rows["baseline"].isna() & rows["block"].isna()].sort_values("created_utc", kind="stable")
    rows = rows.assign(set=rows["dataset"].str.partition(":")[0].where(rows["analysis"].isin(QUALITY)))
    found = []
    for model in frame["model"].dropna().unique():
        of_model = rows[rows["model"] == model]
        for size in list(dict.fromkeys(of_model["resolution"].dropna())) or [None]:
            here = of_model if size is None else of_model[of_model["resolution"] == size]
            for name in list(dict.fromkeys(here["set"].dropna())) or [None]:
                found.append({"model": model, **_sizes(size), "dataset": name, **_costs(here), **_quality(here, name)})
    table = pd.DataFrame(found)
    several = [column for column in table.columns if column not in (*TIMM, *OWN)]
    return table.reindex(columns=[*TIMM, *OWN, *several]).map(_short)


def _sizes(size: str | None) -> dict[str, Any]:
    side = None if size is None else square_side(str(size)) or size
    return {"img_size": side, "infer_img_size": side}


def _costs(rows: pd.DataFrame) -> dict[str, Any]:
    """What a profile says, of its newest setting."""
    profile = rows[(rows["analysis"] == "profile") & rows["stage"].isna()]
    plain = profile[profile["condition"].isna()]
    timed = plain[plain["metric"] == "throughput"].tail(1)
    if len(timed):
        same = pd.Series(data=True, index=profile.index)
        for name in ("device", "dtype", "compile"):
            value = timed[name].iloc[0]
            same &= profile[name].isna() if pd.isna(value) else (profile[name] == value).fillna(value=False)
    else:
        same = pd.Series(data=False, index=profile.index)
    latency = profile[same & (profile["metric"] == "latency") & (profile["condition"] == "p50")]
    found = {
        "param_count": _newest(plain, "params", 1e-6),
        "infer_gmacs": _newest(plain, "macs", 1e-9),
        "infer_macts": _newest(plain, "activations", 1e-6),
        "infer_peak_memory": _newest(plain, "peak_memory", 2.0**-20),
        "infer_latency": _newest(latency, "latency", 1e3),
    }
    if len(timed):
        rate, batch = float(timed["value"].iloc[0]), timed["batch_size"].iloc[0]
        found |= {"infer_samples_per_sec": rate, "infer_device": timed["device"].iloc[0]}
        found |= {"infer_dtype": timed["dtype"].iloc[0]}
        if not pd.isna(batch):
            found |= {"infer_batch_size": int(batch), "infer_step_time": 1e3 * int(batch) / rate}
    return found


def _quality(rows: pd.DataFrame, dataset: str | None) -> dict[str, Any]:
    """What depends on weights: trained ones where there are some."""
    answers = rows[rows["analysis"].isin([*QUALITY, "erf"])]
    trained = answers[~are_random(answers["weights"])]
    answers = trained if len(trained) else answers
    erf = answers[(answers["metric"] == "erf") & (answers["level"] == 50) & (answers["definition"] == ERF)]
    erf = erf[erf["stage"] == erf["stage"].max()]
    answers = answers[answers["set"] == dataset] if dataset is not None else answers
    weights = list(dict.fromkeys(answers["weights"].dropna()))
    found: dict[str, Any] = {"weights": " ".join(weights) or None, "seeds": len(weights) or None}
    found["erf50"] = _mean(erf)
    for name, metric in (("top1", "accuracy"), ("top5", "accuracy_top5")):
        share = _mean(answers[(answers["analysis"] == "eval") & (answers["metric"] == metric)])
        if share is not None:
            found |= {name: 100 * share, f"{name}_err": 100 * (1 - share)}
    for metric in ("box_ap", "mask_ap"):
        found[metric] = _percent(_mean(answers[(answers["analysis"] == "detection") & (answers["metric"] == metric)]))
    probe = answers[answers["analysis"] == "probe"]
    found["linear_top1"] = _percent(_mean(probe[probe["metric"] == "linear_accuracy"]))
    for kind in ("translation", "rotation", "scale"):
        for analysis, prefix in (("invariance", ""), ("box_consistency", "box_")):
            own = answers[answers["analysis"] == f"{analysis}_{kind}"]
            area = _mean(_our_definition(own[own["metric"] == f"{prefix}consistency_auc"]))
            found[f"{prefix}{kind}_consistency"] = _percent(area)
    return found | dict(_neighbours(probe)) | dict(_attacks(answers))


def _our_definition(rows: pd.DataFrame) -> pd.DataFrame:
    """Those of stmbench's own definition, where there are some beside the papers' and their authors'."""
    ours = rows[rows["definition"].astype(str).str.startswith("stmbench.")]
    return ours if len(ours) else rows


def _neighbours(probe: pd.DataFrame) -> Iterator[tuple[str, float | None]]:
    """knn_20_top1: the accuracy of 20 nearest neighbours."""
    for k, chosen in probe[probe["metric"] == "knn_accuracy"].groupby("level", sort=True):
        yield f"knn_{k:g}_top1", _percent(_mean(chosen))


def _attacks(answers: pd.DataFrame) -> Iterator[tuple[str, float | None]]:
    """fgsm_8_255_top1: the accuracy that an attack at eps 8/255 leaves."""
    rows = answers[(answers["analysis"] == "robustness") & (answers["metric"] == "accuracy") & (answers["level"] > 0)]
    for _, chosen in rows[rows["condition"].isna()].groupby(["definition", "level"], sort=True):
        attack = str(chosen["definition"].iloc[0]).split(".")[1]
        eps = f"{255 * chosen['level'].iloc[0]:.3g}".replace(".", "p")
        yield f"{attack}_{eps}_255_top1", _percent(_mean(chosen))


def _newest(rows: pd.DataFrame, metric: str, factor: float) -> float | None:
    values = rows.loc[rows["metric"] == metric, "value"]
    return None if values.empty else float(values.iloc[-1]) * factor


def _mean(rows: pd.DataFrame) -> float | None:
    """Of the newest value of each training; None without any."""
    values = rows.drop_duplicates("weights", keep="last")["value"]
    return None if values.empty else float(values.mean())


def _short(value: Any) -> Any:
    """Six significant digits."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
