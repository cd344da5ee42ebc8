"""Functions of stores and of the other commands."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

import stmbench as sb
from stmbench.errors import InputError, UnknownNameError

ROOT = Path(__file__).parents[2]
ASKED: dict[str, Any] = {"timing": False, "resolution": 32, "progress": False}


@pytest.fixture(scope="module")
def results() -> tuple[Any, Any]:
    """The costs of one model, measured twice."""
    return tuple(sb.profile("unified_identity_nano", **ASKED) for _ in range(2))  # type: ignore[return-value]


def test_two_equal_results_are_the_same(results: tuple[Any, Any]) -> None:
    compared = sb.compare(*results)
    assert compared.verdicts == {"unified_identity_nano": "same"}
    assert set(compared.table["metric"]) >= {"params", "macs"}
    assert not compared.is_regression
    assert "same" in repr(compared)
    page = compared._repr_html_()
    assert "<table" in page
    assert "unified_identity_nano" in page


def test_more_parameters_are_a_regression(results: tuple[Any, Any], tmp_path: Path) -> None:
    from stmbench.tables import Store
    from stmbench.tables.rows import Row

    store, worse = Store(results[0].store), Store(tmp_path / "worse")
    frame = store.read()
    for key in [*store.keys()]:
        rows = frame[frame["metric"].notna()].astype(object).where(frame.notna(), None).to_dict("records")
        changed = [Row(**{**row, "value": row["value"] * (2 if row["metric"] == "params" else 1)}) for row in rows]
        worse.write(key, changed, metadata=store.metadata(key))
    compared = sb.compare(results[0], worse.folder)
    assert compared.is_regression
    assert compared.verdicts == {"unified_identity_nano": "worse"}
    assert compared.table.set_index("metric").loc["params", "effect"] == 2


def test_a_store_is_not_compared_with_itself(results: tuple[Any, Any]) -> None:
    with pytest.raises(InputError, match="measure with another `out`"):
        sb.compare(results[0], results[0].store)


def test_read_export_report(results: tuple[Any, Any], tmp_path: Path) -> None:
    again = sb.read(results[0].store)
    assert len(again.table) == len(results[0].table)
    file = sb.export(again, tmp_path / "rows.csv")
    with file.open(encoding="utf-8", newline="") as stream:
        assert len(list(csv.DictReader(stream))) == len(again.table)
    (page,) = sb.report([results[0]], tmp_path / "page", formats="html", title="A title")
    assert "A title" in page.read_text(encoding="utf-8")


def test_history(results: tuple[Any, Any], tmp_path: Path) -> None:
    facts = {"commit": "a" * 40, "date": "2024-01-01", "subject": "first"}
    (record,) = sb.add_to_history(results[0], tmp_path / "history", repository=tmp_path, **facts)
    assert record.is_dir()
    listed = sb.list_history(tmp_path / "history")
    assert listed["commit"].tolist() == ["a" * 40]
    files = sb.dashboard(tmp_path / "history", tmp_path / "site")
    assert all(Path(file).exists() for file in files.values())
    with pytest.raises(InputError, match="give `keep` or `before`"):
        sb.prune_history(tmp_path / "history")
    assert sb.prune_history(tmp_path / "history", before="2025-01-01") == [record]
    assert not record.exists()


def test_check(monkeypatch: pytest.MonkeyPatch) -> None:
    from stmbench.commands import check
    from stmbench.mixers.conformance import Outcome

    outcome = Outcome(check="shapes", promise="any H and W", status="failed", found="H = W alone", remedy="pad")
    monkeypatch.setitem(check.CHECKS, "mixer", lambda name, **_: [outcome])
    (row,) = sb.check(ROOT / "examples" / "my_mixer.py").to_dict("records")
    assert (row["kind"], row["name"], row["status"]) == ("mixer", "strip_modulation", "failed")
    assert (row["found"], row["remedy"]) == ("H = W alone", "pad")


def test_convert(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    torch.save({"state_dict": {"module.weight": torch.arange(3.0)}}, tmp_path / "w.pth")
    file = sb.convert(tmp_path / "w.pth")
    assert file == tmp_path / "w.safetensors"
    assert load_file(file)["weight"].tolist() == [0.0, 1.0, 2.0]


def test_lists() -> None:
    assert "halo_attn" in sb.list_mixers()
    assert sb.list_mixers("halo") == ["halo_attn"]
    assert {"quickstart", "stm_table3"} <= set(sb.list_experiments())
    assert "unified" in sb.list_architectures()
    assert {"erf", "profile", "eval"} <= set(sb.list_analyses()) <= set(sb.__all__)
    with pytest.raises(UnknownNameError):
        sb.list_mixers("nothing like it")


def test_an_experiment(tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    step = "{analysis: profile, timing: false, resolution: 32}"
    text = f"title: Tiny\nmodels: [unified_identity_nano]\nanalyses: [{step}]\n"
    file.write_text(text, encoding="utf-8")
    result = sb.run(file, out=tmp_path / "out", progress=False)
    assert result.failures == ()
    assert set(result.table["model"].dropna()) == {"unified_identity_nano"}
    assert "Tiny" in result._repr_html_()
