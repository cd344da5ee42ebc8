"""How series, values and change points are put into words, the same on the page and in the feed."""

from __future__ import annotations

import math
from typing import Final

from stmbench.history.record import SeriesKey
from stmbench.history.series import Event, MachineSeries
from stmbench.tables.rows import Display, display

MOST_DIGITS: Final = 9  # after the point
PLAIN: Final = ("profile.v2", "evaluation.v1")  # definitions that go without saying


def displays(machine: MachineSeries) -> dict[str, Display]:
    """Metric -> the name and the unit in which all series of a machine show it."""
    values: dict[tuple[str, str], list[float]] = {}
    for series in machine.series:
        values.setdefault((series.key.metric, series.key.unit), []).extend(series.values.tolist())
    return {metric: display(metric, unit, found) for (metric, unit), found in values.items()}


def conditions(subject: SeriesKey) -> str:
    """What the value is a function of beside the model: 'cpu, fp32, 224 px, batch 64'."""
    words = [subject.definition] if subject.definition not in PLAIN else []
    words += [word for word in (subject.device, subject.dtype) if word]
    if subject.compile:
        words.append("compiled")
    if subject.dataset and subject.analysis != "profile":
        words.append(" ".join(filter(None, (subject.dataset.partition(":")[0], subject.split))))
    if subject.resolution is not None:
        words.append(f"{subject.resolution} px")
    elif subject.dataset and subject.analysis == "profile":  # not square: 'noise:3x224x320'
        words.append(subject.dataset.rpartition(":3x")[2] + " px")
    if subject.batch_size is not None:
        words.append(f"batch {subject.batch_size}")
    if subject.stage is not None:
        words.append(f"stage {subject.stage}")
    words += [subject.condition] if subject.condition else []
    words += [f"level {subject.level:g}"] if subject.level is not None else []
    words += [subject.weights] if subject.weights and subject.analysis != "profile" else []
    return ", ".join(words)


def before_and_after(event: Event, how: Display) -> tuple[str, str]:
    """Both levels of a change point as the metric is shown, with digits enough to tell them apart."""
    levels = [level / how.factor for level in (event.change_point.before, event.change_point.after)]
    difference = abs(levels[1] - levels[0]) or 1.0
    digits = max(how.decimals, min(MOST_DIGITS, 1 - math.floor(math.log10(difference))))
    before, after = (f"{level:,.{digits}f}" + (f" {how.unit}" if how.unit else "") for level in levels)
    return before, after


def change(event: Event) -> str:
    """The size of a change point: in percent where the metric has a natural zero, in points for shares."""
    if event.series.key.unit == "1":
        return f"{100 * (event.change_point.after - event.change_point.before):+.2f} points"
    ratio = event.ratio
    if math.isnan(ratio):
        return "from 0"
    percent = 100 * (ratio - 1)
    return f"{percent:+.1f} %" if abs(percent) >= 1 else f"{percent:+.2g} %"


def verdict(event: Event) -> str:
    """'worse', 'better' or 'changed'; a drift is called one."""
    word = "changed" if event.worse is None else "worse" if event.worse else "better"
    return f"{word} (drift)" if event.change_point.gradual else word
