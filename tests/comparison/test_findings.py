"""Effects become findings: corrected together, judged, explained, the worst first."""

from __future__ import annotations

import dataclasses
import math

import pytest

from stmbench.comparison.findings import Measured, adjudicate
from stmbench.errors import TableError
from stmbench.measure.effects import Effect
from stmbench.tables.comparison_result import Comparison, Finding, Version


def measured(estimate: float, error: float = 0.01, **fields: object) -> Measured:
    effect = Effect(estimate=estimate, error=error, count=100)
    return dataclasses.replace(Measured(model="m", metric="time", effect=effect, margin=0.03), **fields)


def test_findings_are_sorted_by_verdict_and_corrected_for_their_number() -> None:
    findings = adjudicate(
        [measured(0.0), measured(0.05), measured(0.5), measured(-0.5), measured(math.log(2), error=0.0)]
    )
    assert [item.verdict for item in findings] == ["worse", "worse", "worse", "better", "same"]
    p = Effect(estimate=0.05, error=0.01, count=9).p_value
    assert next(item for item in findings if item.effect == pytest.approx(math.exp(0.05))).p_corrected == pytest.approx(
        2 * p
    )
    exact = next(item for item in findings if item.effect == pytest.approx(2))
    assert (exact.low, exact.p_value, exact.detectable) == (None, None, None)


def test_looks_are_corrected_for() -> None:
    one, four = (adjudicate([measured(0.03, looks=looks)])[0] for looks in (1, 4))
    assert four.p_value == pytest.approx(4 * (one.p_value or 0))
    assert four.detectable is not None
    assert one.detectable is not None
    assert four.detectable > one.detectable


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"effect": Effect(estimate=0.2, error=math.inf, count=4)}, "4 rounds, fewer than 20"),
        ({"effect": Effect(estimate=0.2, error=0.15, count=40)}, "the change may be chance"),
        ({"effect": Effect(estimate=0.02, error=0.02, count=40)}, "the interval exceeds the margin"),
        ({"effect": Effect(estimate=0.0, error=0.001, count=40), "claims_same": False, "margin": 0.15},
         "below the 15% that two separate runs can resolve"),
        ({"effect": None}, "no samples"),
        ({"effect": Effect(estimate=math.nan, error=math.inf, count=0)}, "no samples"),
        ({"effect": None, "reason": "another machine"}, "another machine"),
    ],
)  # fmt: skip
def test_what_is_not_resolved_says_why(fields: dict[str, object], reason: str) -> None:
    (finding,) = adjudicate([measured(0.0, **fields)])
    assert finding.verdict == "inconclusive"
    assert reason in (finding.reason or "")


def test_a_difference_is_shown_as_one() -> None:
    (finding,) = adjudicate([measured(-0.02, 0.001, kind="difference", lower_is_better=False, margin=0.005)])
    assert (finding.verdict, finding.effect) == ("worse", -0.02)
    assert finding.low == pytest.approx(-0.02196, abs=1e-5)
    assert finding.detectable == pytest.approx(0.005 + 0.8416 * 0.001, abs=1e-5)


@pytest.mark.parametrize(("failed", "is_regression"), [("base", False), ("head", True), ("both", False)])
def test_a_failure_is_a_regression_where_base_worked(failed: str, is_regression: bool) -> None:
    (finding,) = adjudicate([measured(0.5, failed=failed, reason="no")])
    assert (finding.verdict, finding.is_regression, finding.effect) == ("failed", is_regression, None)


@pytest.mark.parametrize(
    ("verdicts", "code", "strict"),
    [(["same"], 0, 0), (["better", "same"], 0, 0), (["inconclusive", "better"], 0, 3), (["failed"], 0, 3),
     (["worse", "inconclusive"], 1, 1), (["failed at head", "same"], 1, 1)],
)  # fmt: skip
def test_exit_codes(verdicts: list[str], code: int, strict: int) -> None:
    findings = tuple(
        Finding(
            model="m", metric="time", verdict=verdict.partition(" at ")[0], reason="because",  # type: ignore[arg-type]
            is_regression=verdict == "failed at head",
        )
        for verdict in verdicts
    )  # fmt: skip
    version = Version(label="v")
    comparison = Comparison(mode="live", base=version, head=version, findings=findings, alpha=0.01)
    assert (comparison.exit_code(strict=False), comparison.exit_code(strict=True)) == (code, strict)


def test_a_finding_without_a_reason_or_with_an_unknown_verdict_is_refused() -> None:
    with pytest.raises(TableError, match="a reason for the verdict 'failed'"):
        Finding(model="m", metric="time", verdict="failed")
    with pytest.raises(TableError, match="a verdict out of worse"):
        Finding(model="m", metric="time", verdict="worst")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("base", "head", "code"),
    [
        ({"commit": "a" * 40}, {"commit": "a" * 40}, []),
        ({"commit": "a" * 40}, {"commit": "b" * 40}, [f"{'a' * 12} to {'b' * 12}"]),
        ({"commit": "a" * 40, "dirty": True}, {"commit": "a" * 40, "dirty": True},
         [f"{'a' * 12} with uncommitted changes in both: not known to be equal"]),
        ({"commit": "a" * 40, "dirty": True, "digest": "1"}, {"commit": "a" * 40, "dirty": True, "digest": "1"}, []),
        ({"digest": "1" * 64}, {"digest": "2" * 64}, [f"files {'1' * 12} to files {'2' * 12}"]),
        ({}, {}, ["unknown in both: not known to be equal"]),
        ({"commit": "a" * 40, "plugins": (("mine.py", "1"),)}, {"commit": "a" * 40, "plugins": (("mine.py", "2"),)},
         ["plug-in mine.py"]),
    ],
)  # fmt: skip
def test_whether_the_code_changed(base: dict[str, object], head: dict[str, object], code: list[str]) -> None:
    versions = [Version(label="v", **fields) for fields in (base, head)]  # type: ignore[arg-type]
    comparison = Comparison(mode="live", base=versions[0], head=versions[1], findings=(), alpha=0.01)
    assert comparison.changes == {"code": code, "environment": [], "machine": []}
