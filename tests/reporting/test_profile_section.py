"""What a report says of a profile: leads within one setting, verdicts, rounds, machines, published figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from stmbench.analyses.profile.terminal import lines
from stmbench.reporting import build_report, read_stores
from stmbench.tables import Row, Store
from tests.reporting.rows import like, only
from tests.tables.frames import MIXERS, failed_row, profile_rows
from tests.tables.robustness_frames import frame

TIMED = ("throughput", "throughput_ratio", "rank_probability")


def test_published_figures_are_reported_alongside_ours() -> None:
    profile = only(profile_rows(["dw_conv", "sr_attn"], raw=False))
    table = next(table for table in profile.tables if table.name == "published")
    cells = {tuple(cell.text for cell in line.cells[:2]): line.cells for line in table.lines}
    params = cells["DW-Conv micro", "parameters, M"]
    assert (params[2].value, params[3].value) == (4.42e6, 4.4e6)
    assert params[4].text == "+0.45"
    assert "Table III" in table.note


def test_lead_compares_within_one_setting() -> None:
    rows = [row for row in profile_rows(["dw_conv", "sr_attn"], raw=False) if row.metric == "throughput"]
    larger = [like(row, resolution=448, value=0.2 * (row.value or 0), ci_low=None, ci_high=None) for row in rows]
    first = (
        "At 224 px, DW-Conv has the highest throughput of 2: 131.0 images/s (95 % interval 129.0 to 132.8), 1.11 times "
        "that of SR-Attn, the lowest."
    )
    assert only([*rows, *larger]).lead == f"{first} It is the fastest in the other setting too."
    turned = [like(row, value=1 / (row.value or 1)) for row in larger]
    assert only([*rows, *turned]).lead == f"{first} In the other setting another model is the fastest."
    third = [like(row, resolution=896) for row in larger]
    assert only([*rows, *turned, *third]).lead.endswith(" In 1 of the other 2 settings another model is the fastest.")


def two_profiles() -> list[Row]:
    """Two runs in one folder, of other models in another setting."""
    small = profile_rows(["sr_attn", "dw_conv"], scale="nano", raw=False)
    small = [like(row, resolution=32, batch_size=512 if row.metric in TIMED else row.batch_size) for row in small]
    large = profile_rows(["halo_attn", "dcnv3"], scale="tiny", raw=False)
    return [*small, *(like(row, batch_size=1 if row.metric in TIMED else row.batch_size) for row in large)]


def test_two_profiles_in_one_folder_are_not_compared() -> None:
    section = only(two_profiles())
    assert section.lead == (
        "At 32 px · batch 512, DW-Conv nano has the highest throughput of 2: 131.0 images/s (95 % interval 129.0 to "
        "132.8), 1.11 times that of SR-Attn nano, the lowest. It is the fastest with a probability of 95 %. 1 setting "
        "has other models: the table has them."
    )
    table = section.headline
    assert table is not None
    assert table.title == "Throughput relative to the first model of each setting"
    assert [(line.cells[0].text, line.cells[0].detail) for line in table.lines] == [
        ("DW-Conv nano · 32 px · batch 512", "to SR-Attn nano"), ("DCNv3 tiny · 224 px · batch 1", "to Halo-Attn tiny"),
    ]  # fmt: skip


def test_ratio_compares_within_one_setting() -> None:
    rows = profile_rows(["sr_attn", "dw_conv"], raw=False)
    alone = [like(row, batch_size=1) for row in rows if row.metric == "throughput" and row.mixer == "dw_conv"]
    (one, other) = [line for line in lines(frame([*rows, *alone])) if line.subject.mixer == "dw_conv"]
    assert (one.subject.setting, one.ratio is None) == ("batch 64", False)
    assert (other.subject.setting, other.ratio) == ("batch 1", None)


def test_different_machines_are_not_compared(tmp_path: Path) -> None:
    for name, value in (("one", 131.0), ("two", 500.0)):
        rows = [like(row, run_id=name, value=value, ci_low=None, ci_high=None)
                for row in profile_rows(["dw_conv"], raw=False) if row.metric == "throughput"]  # fmt: skip
        Store(tmp_path / name).write("k", rows, metadata={"mixers": MIXERS, "machine": {"cpu": name}})
    report = build_report(read_stores([tmp_path / "one", tmp_path / "two"]))
    assert [line.cells[0].text for line in report.sections[0].tables[0].lines] == [
        "DW-Conv · machine 1", "DW-Conv · machine 2",
    ]  # fmt: skip
    assert dict(report.facts)["Machine"] == "1: one; 2: two"
    assert report.sections[0].lead == "At machine 1, DW-Conv was timed: 131.0 images/s."


@pytest.mark.parametrize(
    ("value", "low", "high", "status", "verdict", "interval"),
    [
        (3.015, 2.831, 3.086, "imprecise", "faster", "2.831 to 3.086*"),
        (3.015, 2.831, 3.086, "inconclusive", "faster", "2.831 to 3.086*"),
        (0.5, 0.4, 0.6, "imprecise", "slower", "0.400 to 0.600*"),
        (1.2, 0.9, 1.5, "imprecise", "inconclusive", "0.900 to 1.500*"),
        (1.005, 0.995, 1.015, "ok", "no difference shown", "0.995 to 1.015"),
        (1.01, 1.001, 1.019, "ok", "faster", "1.001 to 1.019"),
        (1.01, None, None, "ok", "no interval", "–"),
    ],
)
def test_a_verdict_follows_from_its_interval(
    value: float, low: float | None, high: float | None, status: str, verdict: str, interval: str
) -> None:
    changed = {"value": value, "ci_low": low, "ci_high": high, "status": status}
    changed |= {"reason": None if status == "ok" else "wider than 0.03"}
    rows = [
        like(row, **changed) if row.metric == "throughput_ratio" else row
        for row in profile_rows(["halo_attn", "dw_conv"], raw=False)
    ]
    section = only(rows)
    table = section.headline
    assert table is not None
    assert [cell.text for cell in table.lines[0].cells][2:] == [interval, verdict]
    assert ("--target-width" in table.note) == ("*" in interval)
    assert [caveat.kind for caveat in section.caveats] == (["imprecise"] if "*" in interval else [])


def test_lead_claims_nothing_from_few_rounds() -> None:
    rows = [
        like(row, num_samples=3) if row.metric in ("throughput", "throughput_ratio", "rank_probability") else row
        for row in profile_rows(["halo_attn", "dw_conv"], raw=False)
    ]
    section = only(rows)
    assert section.lead == "2 models were timed in 3 rounds, too few to say which is faster: 10 are the fewest."
    assert section.headline is None
    assert "ranks" not in {plot.name for plot in section.plots}
    table = next(table for table in section.tables if table.name == "profile")
    place = [column.heading for column in table.columns].index("Throughput")
    assert [line.cells[place].detail for line in table.lines] == ["3 rounds", "3 rounds"]
    assert "Rank" not in {column.heading for column in table.columns}
    (caveat,) = section.caveats
    assert (caveat.kind, caveat.text.partition(":")[0]) == ("few rounds", "Halo-Attn and DW-Conv")


def test_unfit_to_publish_is_stated_above_the_summary() -> None:
    table = frame(profile_rows(["halo_attn", "dw_conv"], raw=False))
    table.attrs["warnings"] = ["not fit to publish: others took about 50 % of the processor", "steal"]
    report = build_report(table)
    assert report.lead.startswith("Not fit to publish: others took about 50 % of the processor. 2 models:")
    assert [caveat.text for caveat in report.caveats] == ["steal"]


def test_a_machine_that_failed_is_named() -> None:
    section = only([failed_row(), like(failed_row(reason="no probe"), model=None)])
    assert [caveat.text for caveat in section.caveats] == [
        "unified_dcnv3_huge: out of memory",
        "the machine: no probe",
    ]
