"""Base units for the eye: the table says 8.5e8 MAC, a reader sees 0.85 GMACs."""

from __future__ import annotations

import math
from typing import Final, NamedTuple


class Display(NamedTuple):
    """How a metric is shown: its name, the unit it is shown in, how many base units that is, and decimals."""

    name: str
    unit: str
    factor: float
    decimals: int
    before_level: str = " "  # what parts the name from a row's level


_DISPLAYS: Final = {
    "params": Display("parameters", "M", 1e6, 2),
    "macs": Display("MACs per image", "GMACs", 1e9, 3),
    "macs_published_convention": Display("MACs, published convention", "GMACs", 1e9, 3),
    "activations": Display("activations per image", "M", 1e6, 2),
    "throughput": Display("throughput", "images/s", 1.0, 1),
    "latency": Display("latency", "ms", 1e-3, 2),
    "latency_cold": Display("latency with cold caches", "ms", 1e-3, 2),
    "latency_graph": Display("latency as a CUDA graph", "ms", 1e-3, 2),
    "latency_graph_cold": Display("latency as a CUDA graph with cold caches", "ms", 1e-3, 2),
    "peak_memory": Display("peak memory", "MiB", 2.0**20, 0),
    "throughput_ratio": Display("throughput ratio", "×", 1.0, 3),
    "rank_probability": Display("probability of rank", "%", 0.01, 0),
    "achieved_macs_per_second": Display("achieved rate", "GMAC/s", 1e9, 1),
    "arithmetic_intensity": Display("arithmetic intensity", "MAC/byte", 1.0, 1),
    "peak_share": Display("share of the probe's peak", "%", 0.01, 1),
    "energy": Display("energy per image", "J/image", 1.0, 3),
    "probe_peak": Display("probe's peak", "GMAC/s", 1e9, 1),
    "probe_bandwidth": Display("probe's bandwidth", "GB/s", 1e9, 1),
    "part_macs": Display("MACs", "GMACs", 1e9, 3),
    "part_params": Display("parameters", "M", 1e6, 2),
    "part_time": Display("time", "ms", 1e-3, 2),
    "accuracy": Display("accuracy", "%", 0.01, 1),
    "accuracy_difference": Display("accuracy, difference", "%", 0.01, 1),
    "best_accuracy": Display("accuracy of the best epoch", "%", 0.01, 1),
    "training_time": Display("time", "s", 1.0, 0),
    "accuracy_top5": Display("top-5 accuracy", "%", 0.01, 1),
    "calibration_error": Display("calibration error", "%", 0.01, 1),
    "nll": Display("negative log-likelihood", "nats", 1.0, 3),
    "brier": Display("Brier score", "", 1.0, 3),
    "erf": Display("ERF", "of the input's side", 1.0, 3, "@"),
    "consistency": Display("consistency", "%", 0.01, 1),
    "consistency_on_correct": Display("consistency where right", "%", 0.01, 1),
    "accuracy_on_correct": Display("accuracy where clean is right", "%", 0.01, 1),
    "consistency_auc": Display("consistency, area", "%", 0.01, 1),
    "consistency_on_correct_auc": Display("consistency where right, area", "%", 0.01, 1),
    "accuracy_auc": Display("accuracy, area", "%", 0.01, 1),
    "soft_cross_entropy": Display("soft cross-entropy", "nats", 1.0, 3),
    "soft_cross_entropy_auc": Display("soft cross-entropy, area", "nats", 1.0, 3),
    "attention_distance": Display("attention distance", "px", 1.0, 1),
    "affinity_entropy": Display("entropy", "bit", 1.0, 2),
    "mass_within": Display("weight within a radius", "%", 0.01, 1),
    "self_weight": Display("self weight", "%", 0.01, 1),
    "centroid_offset": Display("centroid offset", "px", 1.0, 1),
    "padding_mass": Display("weight on padding", "%", 0.01, 1),
    "static_agreement": Display("static agreement", "", 1.0, 2),
    "alpha": Display("alpha", "", 1.0, 2),
    "beta": Display("beta", "", 1.0, 2),
}


def display(metric: str, unit: str = "") -> Display:
    """How `metric` is shown; one that has no entry is shown in its base unit, under its own name."""
    return _DISPLAYS.get(metric, Display(metric.replace("_", " "), "" if unit == "1" else unit, 1.0, 3))


def number(value: float | None, metric: str) -> str:
    """The value in the metric's display unit, without the unit; a dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    shown = display(metric)
    scaled = value / shown.factor
    # fixed decimals line up in a column; a value that they would leave one digit of gets three significant ones
    small = scaled != 0 and abs(scaled) < 10.0 ** min(0, 1 - shown.decimals)
    return f"{scaled:.3g}" if small else f"{scaled:,.{shown.decimals}f}"
