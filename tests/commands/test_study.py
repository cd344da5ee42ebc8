"""`stmbench study`: the plan, the verdict first, resuming, and what it refuses."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from torch import Tensor, nn

import stmbench as sb
from stmbench.analyses.models import plugin_hashes
from stmbench.commands import study_output
from stmbench.errors import InputError
from stmbench.mixers.base import MIXERS, Mixer, MixerConfig
from stmbench.studies.budget import Plan
from stmbench.studies.design import Effort
from stmbench.tables import read
from tests.commands.run import refusal, stmbench

SMALL = Effort(
    seeds=2, analyses=("eval",), on_every_seed=("eval",), epochs=1 / 12, round_time=1.0
)  # of a study of minutes
ASKED = ("study", "pooling", "--against", "dw_conv", "--seeds", "2", "--workers", "1")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(effort=SMALL, left_out=("corruption", "92% of the epochs"), seconds=30.0, fits=True)
    monkeypatch.setattr(study_output, "fit", lambda *_: plan)


@pytest.mark.usefixtures("small")
def test_a_study_ends_with_its_verdict_and_resumes(tmp_path: Path) -> None:
    out = str(tmp_path / "store")
    first = stmbench(*ASKED, "--out", out)
    assert first.exit_code == 0, first.output
    plan, _, answer = first.stdout.rpartition("Average Pooling against")
    assert "train" in plan
    assert "with 1 at a time" in plan
    for word in ("Accuracy", "points", "against Identity"):
        assert word in answer
    page = (tmp_path / "store" / "report.html").read_text(encoding="utf-8")
    assert page.index(">Verdict</h2>") < page.index(">Evaluation</h2>")
    assert "Left out to end in" in page
    assert "2 seeds" in page
    assert (tmp_path / "store" / "imagenet.yaml").is_file()
    frame = read(out)
    assert frame[frame["analysis"] == "train"]["weights"].nunique() == 6  # three models, two seeds
    again = stmbench(*ASKED, "--out", out)
    assert again.exit_code == 0, again.output
    assert " 0 units of work measured" in again.stderr
    assert again.stdout.rpartition("Average Pooling against")[2] == answer


class RowMean(Mixer):
    """Each place and the mean of its row."""

    def __init__(self, config: MixerConfig) -> None:
        super().__init__()
        self.config, self.out = config, nn.Linear(config.dim, config.dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> the same."""
        return cast(Tensor, self.out(x + x.mean(2, keepdim=True)))


@pytest.fixture
def registered() -> Iterator[str]:
    """A mixer as a cell of a notebook registers it."""
    facts = {"title": "Row Mean", "abbreviation": "Row", "family": "Convolution", "sampling": "global"}
    sb.register_mixer("row_mean", config=MixerConfig, weights="static", **facts)(RowMean)
    yield "row_mean"
    MIXERS.unregister("row_mean")


@pytest.mark.usefixtures("small")
def test_the_function_studies_a_class_of_a_notebook_within_a_budget(registered: str, tmp_path: Path) -> None:
    result = sb.study(registered, against="dw_conv", budget="20m", seeds=2, out=tmp_path, progress=False)
    assert result.failures == ()
    assert {*result.verdict["model"].str.extract(r"unified_(\w+)_nano")[0]} == {registered}
    assert {*result.verdict["baseline"]} == {"Depth-Wise Convolution", "Identity"}
    assert {*result.verdict["metric"]} == {"accuracy"}
    page = result.report(tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Verdict" in page
    assert "Left out to end in" in page
    shown = result._repr_html_()
    assert ">effect (95 % interval)</th>" in shown
    assert re.search(r">[+-][\d.]+ points \([+-][\d.]+ to [+-][\d.]+\)</td>", shown)


def test_a_class_of_a_notebook_that_changed_is_other_code(registered: str) -> None:
    before = plugin_hashes([f"unified_{registered}_nano"])
    changed = type("RowMean", (RowMean,), {"forward": lambda self, x: self.out(x - x.mean(2, keepdim=True))})
    MIXERS.replace(registered, dataclasses.replace(MIXERS.get(registered), module=changed))
    after = plugin_hashes([f"unified_{registered}_nano"])
    assert before.keys() == after.keys() == {registered}
    assert before != after
    assert plugin_hashes(["unified_dw_conv_nano"]) == {}


@pytest.mark.usefixtures("small")
def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    result = stmbench(*ASKED, "--dry-run", "--out", str(tmp_path / "store"))
    assert result.exit_code == 0, result.output
    assert "train" in result.stdout
    assert "Left out" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_budget_that_reaches_for_nothing_is_refused_with_what_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_output, "fit", lambda *_: Plan(effort=SMALL, left_out=(), seconds=240.0, fits=False))
    line = refusal(*ASKED, "--budget", "10s", "--out", str(tmp_path))
    assert "a budget of at least 5:00 min" in line
    assert "--budget" in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing_like_it",), "mixer"),
        (("missing.py",), "missing.py"),
        (("dw_conv", "--against", "dw_conv"), "--against"),
        (("pooling", "--budget", "soon"), "--budget"),
        (("pooling", "--dataset", "no_such_folder"), "--dataset"),
    ],
)
def test_bad_input_is_one_line(arguments: tuple[str, ...], words: str, tmp_path: Path) -> None:
    assert words in refusal("study", *arguments, "--out", str(tmp_path / "store"))
    assert not (tmp_path / "store").exists()


def test_a_mixer_that_breaks_its_contract_is_refused(tmp_path: Path) -> None:
    example = (Path(__file__).parents[2] / "examples" / "my_mixer.py").read_text(encoding="utf-8")
    file = tmp_path / "broken_mixer.py"
    file.write_text(
        example.replace('"strip_modulation"', '"broken_strips"').replace("3 * dim * dim", "7 * dim * dim"), "utf-8"
    )
    line = refusal("study", str(file), "--out", str(tmp_path / "store"))
    assert "keeps its contract" in line
    assert "stmbench check" in line


@pytest.mark.usefixtures("small")
def test_a_class_of_a_notebook_is_unknown_to_worker_processes(registered: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"got row_mean, which this process alone .* 2 workers; .* `workers` 1"):
        sb.study(registered, workers=2, seeds=2, out=tmp_path / "store", progress=False)
    assert not (tmp_path / "store").exists()


def test_a_class_of_a_notebook_has_to_keep_its_contract(registered: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MIXERS.get(registered).module, "forward", lambda self, x: x.transpose(1, 2))
    with pytest.raises(InputError, match="keeps its contract"):
        sb.study(registered)


def test_a_file_without_one_mixer_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "empty_plugin.py"
    file.write_text("import stmbench\n")
    assert "broken" not in refusal("study", str(file))


def test_the_function_has_the_commands_options() -> None:
    parameters = inspect.signature(sb.study).parameters
    command = {field.name for field in dataclasses.fields(study_output.StudyOptions)}
    assert {"mixer", "dataset", "scale", "seeds", "budget"} <= command & {*parameters}
