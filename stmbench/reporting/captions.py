"""What each figure of a profile shows and how it was measured."""

from __future__ import annotations

from typing import Final, NamedTuple


class Caption(NamedTuple):
    """A figure's title for those who hear it, what it shows, and how that was measured."""

    title: str
    shows: str
    measured: str


CAPTIONS: Final = {
    "throughput": Caption(
        "Throughput",
        "Images per second of each model, fastest first; whiskers are 95 % bootstrap intervals.",
        "All models are timed in turn, in a fresh random order each round, beside a fixed probe workload; rounds in "
        "which the probe is an outlier are dropped. A hatched bar has an interval, or a ratio with one, that "
        "is wider than was asked for (--target-width).",
    ),
    "ranks": Caption(
        "Probability of each rank",
        "How sure the order is: the share of bootstrap resamples in which a model takes each place in throughput. The "
        "area of a dot is the probability, the number is in per cent.",
        "Rounds are resampled whole, so what disturbs one round disturbs all models of the resample alike.",
    ),
    "latency": Caption(
        "Latency",
        "Time of one forward pass of a single image: median (filled), 90th (pale) and 99th percentile (hollow), with "
        "95 % intervals.",
        "Single passes at batch 1, taken in the same rounds as the throughput.",
    ),
    "efficiency": Caption(
        "Efficiency",
        "Throughput against MACs per image, both on log axes. Along a grey line the machine does equally many MACs per "
        "second; a model higher up turns its MACs into results faster.",
        "MACs are counted, not timed; throughput carries its 95 % interval.",
    ),
    "roofline": Caption(
        "Roofline",
        "The MACs per second that each model achieves against its arithmetic intensity, under what the machine was "
        "measured to allow: its peak rate (flat) and its memory bandwidth (sloping).",
        "Peak and bandwidth are those of the probe in the same run, so they drift with the machine as the models do. "
        "Intensity is MACs over the bytes of all inputs, weights and outputs of the counted operations.",
    ),
    "scaling": Caption(
        "Throughput by input size",
        "Images per second against the input's side, both on log axes; the exponent b of images/s ~ (side²)^−b stands "
        "beside each model. It is 1 where time grows as the pixels do, and 2 where every token meets every other.",
        "A least-squares line through the logarithms of all sizes that were timed.",
    ),
    "stability": Caption(
        "Does the order hold?",
        "Kendall's tau between the order of models in throughput in two settings: 1 is the same order, −1 the reverse. "
        "'Sure' counts the pairs of models whose 95 % intervals are apart in both settings, the other way round.",
        "Over the models that both settings have.",
    ),
    "parts": Caption(
        "Cost by part",
        "Where MACs, time and parameters are: in the mixers, which are compared, or in what surrounds them.",
        "MACs and parameters are counted by part; time is stamped wherever execution crosses from one part into "
        "another, and what belongs to none (residual sums, layer scale) is 'other'.",
    ),
}
