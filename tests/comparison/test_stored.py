"""Two stores compared: what is claimed, what is not, and what cannot be compared."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from stmbench.comparison.stored import StoredConfig, compare_stores
from stmbench.errors import ConfigError, TableError
from stmbench.tables import Row
from tests.comparison import stores
from tests.comparison.stores import DW, HALO, compared, only

HITS = [1, 0] * 100


@pytest.mark.parametrize(
    ("factor", "load", "verdict"),
    [(1.0, 1.0, "inconclusive"), (1.1, 1.0, "inconclusive"), (1.5, 1.0, "worse"), (0.6, 1.0, "better"),
     (1.0, 2.0, "inconclusive"), (1.5, 0.5, "worse")],
)  # fmt: skip
def test_speed_is_told_in_times_of_the_probe_and_only_large_changes(
    tmp_path: Path, factor: float, load: float, verdict: str
) -> None:
    head = stores.rounds(seconds=0.01 * factor, load=load, seed=1)
    comparison = compared(tmp_path, stores.rounds(), head)
    for metric in ("time per image", "latency"):
        finding = only(comparison, metric)
        assert finding.verdict == verdict
        assert finding.effect == pytest.approx(factor, rel=0.02)
        assert finding.low is not None
        assert finding.high is not None
        assert finding.low < finding.effect < finding.high
        assert finding.detectable is not None
        assert finding.detectable > 0.15
        assert finding.rounds is not None
        assert finding.dropped is not None
        assert finding.rounds + finding.dropped >= 40
    assert only(comparison, "time per image").head == pytest.approx(0.01 * factor * load, rel=0.05)
    assert comparison.exit_code(strict=False) == (1 if verdict == "worse" else 0)


@pytest.mark.parametrize(
    ("head", "metadata", "reason"),
    [
        (stores.rounds(seconds=0.02, batch=16), {}, "batch 8 against 16: profile both with --batch-size"),
        (stores.rounds(seconds=0.02), {"machine": {"cpu": "Another"}}, "different machines"),
    ],
)
def test_speed_of_other_machines_or_batches_is_not_compared(
    tmp_path: Path, head: list[Row], metadata: dict[str, object], reason: str
) -> None:
    base = stores.write(tmp_path / "base", stores.rounds())
    comparison = compare_stores(base, stores.write(tmp_path / "head", head, **metadata), StoredConfig())
    finding = only(comparison, "time per image")
    assert finding.verdict == "inconclusive"
    assert reason in (finding.reason or "")
    assert finding.effect is None
    assert bool(comparison.changes["machine"]) == bool(metadata)


@pytest.mark.parametrize(("macs", "verdict"), [(2e7, "same"), (2.001e7, "same"), (2.2e7, "worse"), (1.9e7, "better")])
def test_costs_are_exact(tmp_path: Path, macs: float, verdict: str) -> None:
    comparison = compared(tmp_path, stores.costs(), stores.costs(macs=macs))
    assert {item.metric for item in comparison.findings} == {"params", "macs"}
    finding = only(comparison, "macs")
    assert (finding.verdict, finding.low, finding.p_value) == (verdict, None, None)
    assert finding.effect == pytest.approx(macs / 2e7)


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "same"), (1.02, "same"), (1.2, "worse"), (0.8, "better")])
def test_peak_memory_is_compared_on_one_machine_with_one_batch_size(
    tmp_path: Path, factor: float, verdict: str
) -> None:
    def peak(value: float, batch: int = 8) -> list[Row]:
        return [stores.row(metric="peak_memory", unit="bytes", value=value * 2.0**20, batch_size=batch)]

    finding = only(compared(tmp_path, peak(400.0), peak(400.0 * factor)), "peak memory")
    assert finding.verdict == verdict
    assert finding.effect == pytest.approx(factor)
    assert finding.low is not None
    (small,) = compared(tmp_path / "small", peak(4.0), peak(4.0 * factor)).findings
    assert small.verdict == "inconclusive", "half a MiB is what processes differ by"
    (other,) = compared(tmp_path / "batch", peak(400.0), peak(400.0 * factor, batch=16)).findings
    assert (other.verdict, other.effect) == ("inconclusive", None)
    base = stores.write(tmp_path / "here", peak(400.0))
    there = stores.write(tmp_path / "there", peak(400.0), machine={"cpu": "Another"})
    (moved,) = compare_stores(base, there, StoredConfig()).findings
    assert "different machines" in (moved.reason or "")


def test_a_family_of_findings_is_corrected_together(tmp_path: Path) -> None:
    pairs = [("base", 0.01), ("head", 0.0122)]
    alone = compared(tmp_path / "one", *(stores.rounds(seconds=seconds) for _, seconds in pairs))
    names = [f"unified_dw_conv_nano[kernel={kernel}]" for kernel in (3, 5, 9, 11, 13)]
    many = [
        [sample for name in names for sample in _alone(stores.rounds(name, seconds=seconds), probe=name == names[0])]
        for _, seconds in pairs
    ]
    together = compared(tmp_path / "many", *many)
    assert only(alone, "time per image").p_corrected == pytest.approx(
        2 * (only(alone, "time per image").p_value or 0), rel=0.01
    )
    finding = only(together, "time per image", names[0])
    assert (finding.p_corrected or 0) >= 5 * (finding.p_value or 1)
    assert len(together.findings) == 10


def _alone(rows: list[Row], *, probe: bool) -> list[Row]:
    return [sample for sample in rows if probe or sample.model is not None]


def test_a_model_that_fails_at_head_is_a_regression_and_the_others_go_on(tmp_path: Path) -> None:
    base = [*stores.costs(), *stores.rounds(), *stores.costs(HALO)]
    head = [*stores.costs(), stores.failed(), *stores.costs(HALO)]
    comparison = compared(tmp_path, base, head)
    finding = only(comparison, "throughput")
    assert (finding.verdict, finding.is_regression) == ("failed", True)
    assert finding.reason == "failed in head: out of memory"
    assert comparison.exit_code(strict=False) == 1
    assert only(comparison, "macs", HALO).verdict == "same"


def test_a_model_that_failed_at_base_or_at_both_is_none(tmp_path: Path) -> None:
    base = [*stores.costs(), stores.failed(), stores.failed(HALO), *stores.costs(HALO)]
    head = [*stores.costs(), *stores.rounds(), stores.failed(HALO), *stores.costs(HALO)]
    comparison = compared(tmp_path, base, head)
    reasons = {item.model: item.reason for item in comparison.findings if item.verdict == "failed"}
    assert reasons == {DW: "failed in base: out of memory", HALO: "failed in both: out of memory"}
    assert comparison.exit_code(strict=False) == 0
    assert comparison.exit_code(strict=True) == 3


def test_what_differs_between_the_stores_is_said(tmp_path: Path) -> None:
    base = stores.write(tmp_path / "base", [*stores.costs(), *stores.costs("timm:resnet18")])
    software = {**stores.SOFTWARE, "torch": "2.6.0", "commit": "b" * 40}
    head = stores.write(tmp_path / "head", stores.costs(), software=software, commit="b" * 40)
    (tmp_path / "head" / "parts" / "broken.parquet").write_bytes(b"PAR1")
    comparison = compare_stores(base, head, StoredConfig())
    assert comparison.changes == {"code": [f"{'a' * 12} to {'b' * 12}"], "environment": ["torch 2.5.0 to 2.6.0"],
                                  "machine": []}  # fmt: skip
    assert "only in base: timm:resnet18" in comparison.notes
    assert any("broken.parquet" in note for note in comparison.notes)


def test_other_weights_are_said(tmp_path: Path) -> None:
    base, head = (
        [dataclasses.replace(item, weights=weights) for item in stores.evaluation(tmp_path / name, HITS, key=name)]
        for name, weights in (("base", "random:0"), ("head", "mine.pth:ab12"))
    )
    assert f"{DW}: weights random:0 at base, mine.pth:ab12 at head" in compared(tmp_path, base, head).notes


@pytest.mark.parametrize(("drop", "verdict"), [(0.0, "inconclusive"), (0.2, "worse")])
def test_average_precision_is_compared_by_intervals(tmp_path: Path, drop: float, verdict: str) -> None:
    sides = [
        [stores.row(analysis="detection", definition="detection.coco.v1", metric="box_ap", unit="1", dataset="shapes:1",
                    split="test", num_images=48, num_samples=48, value=value, ci_low=value - 0.03,
                    ci_high=value + 0.03)]
        for value in (0.4, 0.4 - drop)
    ]  # fmt: skip
    finding = only(compared(tmp_path, *sides), "box AP")
    assert (finding.verdict, finding.effect) == (verdict, pytest.approx(-drop))


REFUSED = {
    "nothing there": (None, "expected a result store"),
    "an empty store": ([], "expected rows in the store"),
    "failed units alone": ([stores.failed()], "got only failed units (out of memory)"),
    "no common model": (stores.costs(HALO), f"expected stores that share a model, got {DW} against {HALO}"),
    "no common conditions": ([stores.row(metric="erf", unit="input_side", value=0.3)], "the same conditions in both"),
}


@pytest.mark.parametrize(("rows", "line"), REFUSED.values(), ids=REFUSED)
def test_stores_that_cannot_be_compared(tmp_path: Path, rows: list[Row] | None, line: str) -> None:
    base, head = stores.write(tmp_path / "base", stores.costs()), tmp_path / "head"
    if rows:
        stores.write(head, rows)
    elif rows is not None:
        (head / "parts").mkdir(parents=True)
    with pytest.raises(TableError, match=r"expected .*, got .*; ") as error:
        compare_stores(base, head, StoredConfig())
    assert line in str(error.value)


@pytest.mark.parametrize("option", ["speed_margin", "quality_margin", "cost_margin", "memory_margin"])
@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_a_margin_makes_sense(option: str, value: float) -> None:
    with pytest.raises(ConfigError, match="expected a margin"):
        StoredConfig(**{option: value})  # type: ignore[arg-type]
