"""What `stmbench check` says of analyses: the starter and built-in ones pass, and each fault is found in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from stmbench.analyses.conformance import PROMISES, conform
from stmbench.analyses.registry import ANALYSES
from stmbench.commands.analysis_command import command_of
from stmbench.plugins import load_plugin
from tests.commands import run


def _starter(folder: Path, *changes: tuple[str, str]) -> Path:
    """The starter with some text replaced."""
    file = folder / "jitter.py"
    run.stmbench("new", "analysis", "jitter", "--out", str(file))
    text = file.read_text()
    for old, new in changes:
        assert text.count(old) >= 1, old
        text = text.replace(old, new)
    file.write_text(text)
    return file


def test_the_starter_passes_every_check(tmp_path: Path) -> None:
    result = run.stmbench("check", str(_starter(tmp_path)))
    assert result.exit_code == 0, result.output
    assert f"{len(PROMISES)} passed, 0 failed, 0 skipped" in result.stdout


FAULTS = [  # check, old text, new text, what is found
    ("options", 'help="Standard deviation of the noise; pixels are in [0, 1]."', 'help=""', "noise has no help text"),
    ("options", "noise", "seed", "duplicate"),
    ("refuses_nonsense", "        require(0 < self.noise", "        0 and require(0 < self.noise",
     "noise=nan is accepted"),
    ("runs", "            clean = ", "            1 / 0\n            clean = ", "ZeroDivisionError"),
    ("resumes", '{"noise": self.options.noise}', '{"noise": __import__("time").time()}', "were measured again"),
    ("rows", "    def headline", "    def image_row(self, s, m, v, **c):\n        return super().image_row("
     "s, m, v, **{**c, 'kind': 'raw'})\n\n    def headline", "no summary row"),
    ("rows", "metrics=(CHANGE,)", "metrics=(CHANGE, Metric(name='other', unit='s'))", None),
    ("rows", "self.interval_row(loaded, CHANGE.name,", "self.interval_row(loaded, 'erf',",
     "the metric 'erf' is not in the entry's metrics"),
    ("seeds", "torch.cat(distances).double().numpy()", "torch.cat(distances).double().numpy() * 0 + 0.5",
     "another seed gave the same values"),
    ("seeds", "generator=torch.Generator().manual_seed(s)", "generator=torch.Generator().manual_seed("
     "__import__('time').time_ns())", "the same seed gave other values"),
    ("draws", "    with canvas(", "    torch.nn.Identity()(1)\n    with canvas(", "a model is run (Identity)"),
    ("draws", "    ranked = sorted(", "    view.rows['value'] = 0.0\n    ranked = sorted(", "changes the rows"),
    ("draws", "        self.options = options", "        self.options = options\n        SEEN.append(1)", "SEEN"),
    ("shows_every_row", "plots=tuple(plots),\n        tables=() if table is None else (table,)", "tables=()",
     "not shown: 1 values of change of logits, %"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "old", "new", "found"), FAULTS)
def test_a_fault_fails_its_check_in_words(tmp_path: Path, check: str, old: str, new: str, found: str | None) -> None:
    changes = [(old, new)]
    if "SEEN" in new:  # state of the process that measured
        changes += [('NAME: Final = "jitter"', 'NAME: Final = "jitter"\nSEEN: list[int] = []')]
        changes += [("    ranked = sorted(", "    assert SEEN, 'SEEN is empty'\n    ranked = sorted(")]
    file = _starter(tmp_path, *changes)
    load_plugin(file)
    outcomes = {
        outcome.check: outcome
        for outcome in conform(ANALYSES.get("jitter"), plugins=[str(file)], interfaces=[command_of], checks=[check])
    }
    if found is None:
        assert [outcome.status for outcome in outcomes.values()] == ["passed"] * len(outcomes)
        return
    assert outcomes[check].status == "failed"
    assert found in outcomes[check].found
    assert outcomes[check].remedy == PROMISES[check][1]
    assert [name for name, outcome in outcomes.items() if outcome.status != "passed"] == [check]


@pytest.mark.parametrize("name", [name for name in ANALYSES if ANALYSES.get(name).options is not None])
def test_built_in_analyses_keep_the_contract(name: str) -> None:
    outcomes = conform(ANALYSES.get(name), interfaces=[command_of])
    assert [outcome.check for outcome in outcomes] == list(PROMISES)
    timed = name == "profile"  # what no seed repeats
    assert [
        outcome for outcome in outcomes if outcome.status != "passed" and not (timed and outcome.check == "seeds")
    ] == []


def test_an_analysis_without_options_is_skipped() -> None:
    assert {outcome.status for outcome in conform(ANALYSES.get("train"))} == {"skipped"}
