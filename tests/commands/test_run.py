"""`stmbench run`: what it refuses, what it shows, what it leaves, and going on after anything."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from stmbench.commands import receipts
from stmbench.tables import Store, read
from stmbench.tables import parts as store_parts
from tests.commands import run
from tests.experiments.files import HEAD, MODELS, RANDOM, TINY, write
from tests.experiments.plugins import plugin

TIMES = ("training_time", "throughput", "latency")


def values(folder: Path) -> pd.DataFrame:
    """What a store says, without when, in which run and how fast."""
    frame = read(folder).drop(columns=["created_utc", "run_id"])
    frame = frame[~frame["metric"].isin(TIMES)]
    return frame.sort_values(list(frame.columns), ignore_index=True)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with e.yaml and the store of it, done in one process."""
    folder = tmp_path_factory.mktemp("tiny")
    result = run.stmbench("run", str(write(folder, TINY)), "--workers", "1", "--out", str(folder / "store"))
    assert result.exit_code == 0, result.output
    assert "7 tasks done: 6 units of work measured\n" in result.stderr, "a fresh store has nothing to take from"
    assert "0 of 7 tasks done" in result.stderr
    assert result.stderr.startswith("about ")
    assert "DW-Conv" in result.stdout
    return folder


def test_an_experiment_leaves_rows_weights_and_figures(tiny: Path) -> None:
    frame = read(tiny / "store")
    assert set(frame["model"].dropna()) == set(MODELS)
    assert set(frame["status"]) == {"ok"}
    assert not frame["weights"].str.startswith("random").any(), "all is said of the trained weights"
    (difference,) = frame[frame["metric"] == "accuracy_difference"].to_dict("records")
    assert (difference["model"], difference["baseline"]) == (MODELS[1], MODELS[0])
    assert len(list((tiny / "store" / "checkpoints").glob("*/last.safetensors"))) == 2
    figures = {path.stem for path in (tiny / "store" / "figures").glob("*.svg")}
    assert any("erf" in name for name in figures)
    assert len(figures) >= 3


def test_a_second_run_measures_nothing_and_leaves_the_same_rows(tiny: Path) -> None:
    before = values(tiny / "store")
    parts = {path: path.stat().st_mtime_ns for path in (tiny / "store" / "checkpoints").rglob("*") if path.is_file()}
    result = run.stmbench("run", str(tiny / "e.yaml"), "--workers", "1", "--out", str(tiny / "store"))
    assert result.exit_code == 0, result.output
    assert "7 tasks done: 0 units of work measured, 6 taken from the store" in result.stderr
    pd.testing.assert_frame_equal(values(tiny / "store"), before)
    assert {path: path.stat().st_mtime_ns for path in parts} == parts


def test_the_plan_of_what_is_done_and_of_what_is_not(tiny: Path) -> None:
    result = run.stmbench("run", str(tiny / "e.yaml"), "--dry-run", "--out", str(tiny / "store"))
    assert result.exit_code == 0, result.output
    lines = {
        line.split()[0]: line.split()[1:6] for line in result.stdout.splitlines() if line[:5] in ("train", "eval ")
    }
    assert lines == {"train": ["2", "2", "2", "0", "–"], "eval": ["3", "2", "3", "0", "–"]}
    assert "nothing to do" in result.stdout
    fresh = run.stmbench("run", str(tiny / "e.yaml"), "--dry-run", "--fresh", "--out", str(tiny / "store"))
    assert "nothing to do" not in fresh.stdout
    assert "about" in fresh.stdout


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "store"
    result = run.stmbench("run", str(write(tmp_path, TINY)), "--dry-run", "--out", str(out))
    assert result.exit_code == 0, result.output
    assert "train" in result.stdout
    assert not out.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["e.yaml"]


def test_fresh_measures_again(tmp_path: Path) -> None:
    arguments = ("run", str(write(tmp_path, RANDOM)), "--workers", "1", "--out", str(tmp_path / "store"))
    assert "6 tasks done: 4 units of work measured\n" in run.stmbench(*arguments).stderr
    before = values(tmp_path / "store")
    assert "6 tasks done: 4 units of work measured\n" in run.stmbench(*arguments, "--fresh").stderr
    pd.testing.assert_frame_equal(values(tmp_path / "store"), before)


def test_a_miniature_says_that_it_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = f"{HEAD}data: {{set: imagenet}}\nanalyses: [eval]\nmini:\n  data: {{set: digits}}\n"
    text += "  analyses: [{analysis: eval, num_images: 4}]\n"
    path = str(write(tmp_path, text))
    plan = run.stmbench("run", path, "--dry-run")
    assert "missing: the data set imagenet (--data imagenet=PATH)" in " ".join(plan.stdout.split())
    assert f"the miniature needs nothing: stmbench run {path} --mini" in plan.stderr
    assert "T (miniature)" in run.stmbench("run", path, "--dry-run", "--mini").stdout
    result = run.stmbench("run", path, "--mini", "--workers", "1")
    assert result.exit_code == 0, result.output
    assert "a miniature of T: its numbers are not those of the whole experiment" in result.stderr
    assert (tmp_path / "results" / "e-mini" / "parts").is_dir()
    assert not (tmp_path / "results" / "e").exists()


def test_a_plugin_of_the_file_is_run_where_that_is_allowed(tmp_path: Path) -> None:
    plugin(tmp_path)
    models = HEAD.replace("unified_identity_nano", "unified_passthrough_nano")
    text = f"{models}plugins: passthrough.py\nanalyses: [{{analysis: profile, timing: false}}]\n"
    path = str(write(tmp_path, text))
    out = str(tmp_path / "store")
    refusal = run.refusal("run", path, "--out", out)
    assert refusal == (
        "expected --allow-plugins, as plug-ins are code that is run, got passthrough.py in e.yaml; read them, then add "
        "the option"
    )
    assert not Path(out).exists()
    result = run.stmbench("run", path, "--allow-plugins", "--out", out)
    assert result.exit_code == 0, result.output
    assert "unified_passthrough_nano" in set(read(out)["model"])


def test_what_a_file_says_about_itself_is_shown(tmp_path: Path) -> None:
    about = "paper: Hu et al. 2022\nreproduces: Table 3\nnote: 'half the images,\\n not all'\n".replace("\\n", "\n")
    text = f"title: T\nmodels: [unified_identity_nano]\n{about}data: {{set: digits}}\n"
    path = str(write(tmp_path, text + "analyses: [{analysis: eval, num_images: 2}]\n"))
    out = tmp_path / "store"
    plan = run.stmbench("run", path, "--dry-run", "--out", str(out))
    result = run.stmbench("run", path, "--workers", "1", "--out", str(out))
    assert result.exit_code == 0, result.output
    page = (out / "report.html").read_text()
    for name, text in (("Paper", "Hu et al. 2022"), ("Reproduces", "Table 3"), ("Note", "half the images, not all")):
        assert f"{name.lower()}: {text}" in plan.stdout
        assert name in page
        assert text in page


BAD = {
    ("--mini",): "expected a miniature in e.yaml, got a file without the key `mini`; run it without --mini",
    ("--engine", "rai"): "expected an engine, got 'rai'; did you mean ray?",
    ("--workers", "0"): "expected a number of workers, or auto, got '0'; change --workers",
    ("--workers", "many"): "expected a number of workers, or auto, got 'many'; change --workers",
    ("--data", "imagenet"): "expected a data set and its place, got 'imagenet'; write --data imagenet=PATH",
    ("--data", "imagenet=/no/where"): "expected the data set imagenet, got nothing at /no/where; correct --data",
    ("--weights", "/no/where"): "expected a folder of weights, got no folder at /no/where; correct --weights",
    ("--address", "host:1"): "expected --address with --engine ray, got --engine local; add it, or leave out --address",
    ("--device", "tpu"): "expected a device, got 'tpu'; did you mean cpu?",
}


@pytest.mark.parametrize(("options", "said"), BAD.items(), ids=" ".join)
def test_options_that_make_no_sense(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    out = tmp_path / "store"
    assert run.refusal("run", str(write(tmp_path, RANDOM)), *options, "--out", str(out)) == said
    assert not out.exists()


@pytest.mark.parametrize(
    ("text", "said"),
    {
        "title: T\nmodells: [a]\n": "expected a key in line 2 of e.yaml, got 'modells'; did you mean models?",
        f"{HEAD}seeds: x\n": "expected a whole number for `seeds` in line 3 of e.yaml, got 'x'; correct it",
        "title: T\nmodels:\n\t- a\n": "expected YAML in e.yaml, got found character '\\t' that cannot start any "
        "token in line 3; correct that line",
        f"{HEAD}weights: files\nanalyses: [eval]\n": "expected what the experiment needs, got it lacks weights of "
        f"{MODELS[0]} (--weights FOLDER); weights of {MODELS[1]} (--weights FOLDER); see the plan with --dry-run, or "
        "try --mini of e.yaml",
    }.items(),
)
def test_a_file_that_makes_no_sense(tmp_path: Path, text: str, said: str) -> None:
    assert run.refusal("run", str(write(tmp_path, text)), "--out", str(tmp_path / "store")) == said
    assert not (tmp_path / "store").exists()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "no.yaml (No such file or directory); correct the path" in run.refusal("run", str(tmp_path / "no.yaml"))


def test_a_store_that_is_a_file(tmp_path: Path) -> None:
    out = tmp_path / "store"
    out.write_text("something else")
    refusal = run.refusal("run", str(write(tmp_path, RANDOM)), "--out", str(out))
    assert refusal.startswith(f"expected a folder that can be written, got '{out}'")
    assert out.read_text() == "something else"


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_a_store_of_a_newer_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]) -> None:
    path, out = write(tmp_path, f"{HEAD}analyses: [{{analysis: profile, timing: false}}]\n"), tmp_path / "store"
    with monkeypatch.context() as newer:
        newer.setattr(store_parts, "SCHEMA_VERSION", 99)
        assert run.stmbench("run", str(path), "--out", str(out)).exit_code == 0
    (out / receipts.NAME).unlink()  # it names the code, which the newer version's is not
    before = sorted(path.name for path in (out / "parts").iterdir())
    refusal = run.refusal("run", str(path), *options, "--out", str(out))
    assert refusal.startswith("expected schema version 3 or older, got version 99 in ")
    assert refusal.endswith("; update stmbench")
    assert sorted(path.name for path in (out / "parts").iterdir()) == before
    assert Store(out).parts.is_dir()
