"""Cost and speed: parameters, MACs, throughput, latency and memory of models measured interleaved.

options, config                 what can be asked for
setting                         one resolution and dtype: its rounds
analysis, tasks                 units of work
timing_harness, timed_models    what is timed, and how
inputs                          what models are given when they are timed
costs                           counts, parts, peak memory
samples                         raw samples, their intervals and ratios
figures, section, terminal      what is shown, from rows alone
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from stmbench.analyses.profile.options import ProfileOptions
from stmbench.analyses.registry import AnalysisSpec, Metric, Tracking, register_analysis

SMALLEST: Final = 0.02  # processes of one model differ by 1.5 to 5 % (sd); a level rests on three of them or more
SPEED: Final = Tracking(relative=True, by_probe=True, smallest=SMALLEST)


def _shown(name: str, unit: str, title: str, shown_unit: str, factor: float, decimals: int, **facts: Any) -> Metric:
    return Metric(name=name, unit=unit, title=title, shown_unit=shown_unit, factor=factor, decimals=decimals, **facts)


def _counted(name: str, unit: str, title: str, shown_unit: str, factor: float, decimals: int) -> Metric:
    exact = Tracking(exact=True)
    return _shown(name, unit, title, shown_unit, factor, decimals, better="lower", tracking=exact)


register_analysis(
    AnalysisSpec(
        name="profile",
        title="Cost and speed",
        summary="""Compare models: parameters, MACs, throughput, latency and memory, interleaved and with intervals.

        Without arguments: the five mixers at scale micro, on the GPU if there is one. --json prints one array of all
        rows of the run.
        """,
        order=20,
        options=ProfileOptions,
        metrics=(
            _counted("params", "count", "parameters", "M", 1e6, 2),
            _counted("macs", "MAC", "MACs per image", "GMACs", 1e9, 3),
            _shown("macs_published_convention", "MAC", "MACs, published convention", "GMACs", 1e9, 3, better="lower"),
            _counted("activations", "count", "activations per image", "M", 1e6, 2),
            _shown("throughput", "images/s", "throughput", "images/s", 1.0, 1, better="higher", tracking=SPEED),
            _shown(
                "latency",
                "s",
                "latency",
                "ms",
                1e-3,
                2,
                better="lower",
                tracking=dataclasses.replace(SPEED, condition="p50"),
            ),
            _shown("latency_cold", "s", "latency with cold caches", "ms", 1e-3, 2, better="lower"),
            _shown("latency_graph", "s", "latency as a CUDA graph", "ms", 1e-3, 2, better="lower"),
            _shown(
                "latency_graph_cold", "s", "latency as a CUDA graph with cold caches", "ms", 1e-3, 2, better="lower"
            ),
            _shown(
                "peak_memory",
                "bytes",
                "peak memory",
                "MiB",
                2.0**20,
                0,
                better="lower",
                tracking=Tracking(relative=True, smallest=0.01),
            ),
            _shown("throughput_ratio", "1", "throughput ratio", "×", 1.0, 3, better="higher"),
            _shown("rank_probability", "1", "probability of rank", "%", 0.01, 0),
            _shown("achieved_macs_per_second", "MAC/s", "achieved rate", "GMAC/s", 1e9, 1, better="higher"),
            _shown("arithmetic_intensity", "MAC/byte", "arithmetic intensity", "MAC/byte", 1.0, 1),
            _shown("peak_share", "1", "share of the probe's peak", "%", 0.01, 1, better="higher"),
            _shown(
                "energy",
                "J/image",
                "energy per image",
                "J/image",
                1.0,
                3,
                better="lower",
                tracking=Tracking(relative=True, smallest=SMALLEST),
            ),
            _shown("probe_peak", "MAC/s", "probe's peak", "GMAC/s", 1e9, 1),
            _shown("probe_bandwidth", "bytes/s", "probe's bandwidth", "GB/s", 1e9, 1),
            Metric(name="batch_size", unit="count"),
            Metric(name="kernel_calls", unit="count", title="calls"),
            Metric(name="elements_moved", unit="count"),
            Metric(name="elementwise", unit="count"),
            Metric(name="dropped_rounds", unit="count"),
            Metric(name="phase_time", unit="s"),
            _shown("part_macs", "MAC", "MACs", "GMACs", 1e9, 3),
            _shown("part_params", "count", "parameters", "M", 1e6, 2),
            _shown("part_time", "s", "time", "ms", 1e-3, 2),
        ),
        terminal="stmbench.analyses.profile.terminal:terminal",
        figures="stmbench.analyses.profile.figures:figures",
        section="stmbench.analyses.profile.section:section",
        example="profile --scale tiny --mixers halo_attn,dw_conv --time-budget 30",
    )
)
