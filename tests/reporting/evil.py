"""A report in which everything a user may name is hostile."""

from __future__ import annotations

import dataclasses
import functools

from stmbench.reporting import build_report
from stmbench.reporting.content import Report
from stmbench.tables import frame_of
from tests.tables.frames import failed_row, profile_rows, with_attrs

NAMES = (
    "<script>alert(1)</script>",
    '#eval("1") @label $x$ *a* _b_ `raw`',
    r"\input{x}\end{tabular}%{",
    "a|b\\|c\n| d",
    "]]>&amp;<!--'\"</title></style></svg><svg onload=alert(1)>",
    "[*] ~ ^ \u202e\x07\u200b",
)
SOME = ("throughput", "macs", "throughput_ratio", "rank_probability")


@functools.cache  # figures take their time, and renderers leave a report as it is
def evil_report(name: str) -> Report:
    """A report of a profile whose models, reasons, machine, store, command, warnings and title are `name`."""
    rows = [dataclasses.replace(row, model=name, mixer=None) for row in profile_rows(["dw_conv"]) if row.model]
    rows += [dataclasses.replace(row, baseline=name) for row in profile_rows(["sr_attn", "dcnv3"]) if row.model]
    rows += [dataclasses.replace(rows[0], analysis=name, metric=name, condition=name, dataset=name, definition=name)]
    rows = [row for row in rows if row.metric in (name, *SOME)]
    frame = with_attrs(frame_of([*rows, failed_row(name, reason=name)]))
    frame.attrs.update(command=name, machines=[name], warnings=[name], stores=[name], unreadable=[(name, name)])
    frame.attrs["commits"] = {name: 1, "other": 2}
    frame.attrs["mixers"] = {"sr_attn": {"abbreviation": name, "title": name}}
    return build_report(frame, title=name)
