"""Figures and pages of several runs in one folder."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from stmbench.commands.analysis_output import RECORD, RunNames
from tests.commands import run
from tests.tables.frames import profile_frame


def named(folder: Path, frame: pd.DataFrame) -> str:
    """The name a run gets, and its file."""
    names = RunNames(folder, frame)
    name = names.of("throughput", folder / "throughput.svg")
    (folder / f"{name}.svg").write_text("drawn")
    names.keep()
    return name


def test_a_run_in_another_setting_has_names_of_its_own(tmp_path: Path) -> None:
    first = profile_frame(raw=False)
    smaller = first.assign(resolution=first["resolution"].where(first["resolution"].isna(), "64"))
    assert named(tmp_path, first) == "throughput"
    assert named(tmp_path, smaller) == "throughput-64_px"
    assert named(tmp_path, smaller) == "throughput-64_px"
    assert named(tmp_path, first) == "throughput"
    trained = first.assign(definition="profile.train.v2")
    assert named(tmp_path, trained) == "throughput-profile.train.v2"
    one = profile_frame(["dw_conv"], raw=False)
    assert named(tmp_path, one) == "throughput-unified_dw_conv_micro"


def test_what_nobody_remembers_stays(tmp_path: Path) -> None:
    (tmp_path / "throughput.svg").write_text("older")
    (tmp_path / RECORD).write_text("[no record]")
    name = named(tmp_path, profile_frame(["dw_conv"], raw=False))
    assert name.startswith("throughput-224_px-batch_1+64-fp32-")
    assert name.endswith("-unified_dw_conv_micro")
    assert (tmp_path / "throughput.svg").read_text() == "older"


def test_a_second_profile_leaves_the_figures_of_the_first(tmp_path: Path) -> None:
    arguments = ("profile", "--models", "unified_dw_conv_nano", "--no-timing", "--out", str(tmp_path), "--resolution")
    assert run.stmbench(*arguments, "32").exit_code == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.suffix in (".svg", ".html")}
    assert tmp_path / "profile.html" in before
    assert run.stmbench(*arguments, "64").exit_code == 0
    assert {path: path.read_bytes() for path in before} == before
    assert (tmp_path / "profile-64_px.html").is_file()


def test_another_definition_leaves_the_picture_of_the_first(tmp_path: Path) -> None:
    arguments = ("erf", "--models", "unified_dw_conv_nano", "--dataset", "digits", "--num-images", "4", "--stages", "1")
    assert run.stmbench(*arguments, "--out", str(tmp_path)).exit_code == 0
    before = (tmp_path / "figures" / "erf.svg").read_bytes()
    assert run.stmbench(*arguments, "--out", str(tmp_path), "--definition", "paper.v1").exit_code == 0
    assert (tmp_path / "figures" / "erf.svg").read_bytes() == before
    assert b"paper.v1" in (tmp_path / "figures" / "erf-paper.v1.svg").read_bytes()
