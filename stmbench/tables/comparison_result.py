"""The result of a comparison of two versions: findings with their verdicts, and the two versions. Only data.

A finding is one metric of one model under one set of conditions, at base and at head. All formats (terminal, Markdown,
JSON) are made from these classes, wherever the numbers come from.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final, Literal

from stmbench.errors import TableError

Verdict = Literal["worse", "failed", "inconclusive", "better", "same"]
VERDICTS: Final[tuple[Verdict, ...]] = ("worse", "failed", "inconclusive", "better", "same")  # in the order of listing
Kind = Literal["ratio", "difference"]  # head / base, or head - base
FORMAT: Final = "stmbench.compare.v2"  # of the JSON; increase it when a field or a meaning changes

CLEAN, REGRESSION, INCONCLUSIVE = 0, 1, 3  # exit codes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """One metric of one model.

    `effect` is head / base or head - base, depending on `kind`; `low` and `high` are the ends of its 95 % interval,
    None if it is exact. `detectable` is the smallest true change that would be claimed four times out of five.
    `p_value`, of no change, is corrected for interim looks, `p_corrected` for the other findings too (Holm).
    `has_direction` is False of what is neither good nor bad in itself, such as a receptive field: `word` then says
    which is the larger one.
    `is_regression` marks a regression that the verdict does not show: a model that fails only at head.
    """

    model: str
    metric: str
    verdict: Verdict
    conditions: str = ""  # batch 8, 224 px, fp32, cpu
    unit: str = "1"
    kind: Kind = "ratio"
    lower_is_better: bool = True
    has_direction: bool = True
    base: float | None = None
    head: float | None = None
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    margin: float = 0.0
    detectable: float | None = None
    p_value: float | None = None
    p_corrected: float | None = None
    rounds: int | None = None  # kept; for quality, the number of images
    dropped: int | None = None  # rounds with a disturbed probe
    seconds: float | None = None  # of sampling
    confirmed: bool | None = None  # None: not measured again
    is_regression: bool = False
    reason: str | None = None

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise TableError(f"a verdict out of {', '.join(VERDICTS)}", repr(self.verdict), "correct it")
        if self.verdict in ("failed", "inconclusive") and not self.reason:
            raise TableError(f"a reason for the verdict {self.verdict!r}", "none", "say why")

    @property
    def word(self) -> str:
        """The verdict for a reader: larger or smaller in place of better and worse where there is no direction."""
        if self.verdict == "same":
            return "the same"
        if self.has_direction or self.verdict not in ("better", "worse"):
            return self.verdict
        return "larger" if (self.verdict == "worse") == self.lower_is_better else "smaller"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Version:
    """One of the two versions: its label, code and environment."""

    label: str
    commit: str | None = None
    dirty: bool | None = None
    digest: str | None = None  # of the package's files; None if unavailable
    software: tuple[tuple[str, str], ...] = ()  # package, version
    machine: str | None = None  # in words
    plugins: tuple[tuple[str, str], ...] = ()  # mixer or file, digest

    @property
    def code(self) -> str:
        """A short description of the code."""
        if self.commit:
            return self.commit[:12] + (" with uncommitted changes" if self.dirty else "")
        return f"files {self.digest[:12]}" if self.digest else "unknown"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """All findings of a comparison. `alpha` is the family-wise error rate of its claims."""

    mode: Literal["live", "stored"]
    base: Version
    head: Version
    findings: tuple[Finding, ...]
    alpha: float
    notes: tuple[str, ...] = ()

    @property
    def changes(self) -> dict[str, list[str]]:
        """Differences between the versions, by code, environment and machine; an empty list means none."""
        base, head = self.base, self.head
        code = []
        if base.digest and head.digest:
            if base.digest != head.digest:
                code.append(f"{base.code} to {head.code}")
        elif base.code != head.code or base.dirty or head.dirty or not base.commit:
            same = base.code == head.code
            code.append(f"{base.code} in both: not known to be equal" if same else f"{base.code} to {head.code}")
        code += [f"plug-in {name}" for name in sorted({name for name, _ in {*base.plugins} ^ {*head.plugins}})]
        before, after = dict(base.software), dict(head.software)
        environment = [
            f"{name} {before.get(name, 'none')} to {after.get(name, 'none')}"
            for name in dict.fromkeys([*before, *after])
            if before.get(name) != after.get(name)
        ]
        machine = [] if base.machine == head.machine else [f"{base.machine} to {head.machine}"]
        return {"code": code, "environment": environment, "machine": machine}

    @property
    def count(self) -> dict[str, int]:
        """The number of findings with each verdict."""
        return {verdict: sum(finding.verdict == verdict for finding in self.findings) for verdict in VERDICTS}

    def exit_code(self, *, strict: bool) -> int:
        """1 on a regression; with `strict` 3 if anything is inconclusive or failed; else 0."""
        if any(finding.verdict == "worse" or finding.is_regression for finding in self.findings):
            return REGRESSION
        if strict and any(finding.verdict in ("inconclusive", "failed") for finding in self.findings):
            return INCONCLUSIVE
        return CLEAN

    def record(self) -> dict[str, Any]:
        """The comparison for JSON."""
        return {"format": FORMAT, **dataclasses.asdict(self), "changes": self.changes, "count": self.count}
