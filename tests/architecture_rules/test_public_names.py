"""`import stmbench` gives the public names, and costs nothing until one is used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import stmbench
from stmbench.architectures import catalog
from stmbench.mixers import base


def test_public_names_are_the_things_themselves() -> None:
    assert stmbench.create_model is catalog.create_model
    assert stmbench.list_models is catalog.list_models
    assert stmbench.register_mixer is base.register_mixer
    assert callable(stmbench.load_checkpoint)
    assert callable(stmbench.tables.read)


def test_every_public_name_is_listed_and_there() -> None:
    assert set(stmbench.__all__) <= set(dir(stmbench))
    for name in stmbench.__all__:
        assert getattr(stmbench, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'stmbench' has no attribute 'creat_model'"):
        _ = stmbench.creat_model


def test_the_page_names_exactly_the_public_names_that_are_no_analyses() -> None:
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
    table = page.partition("## Public names")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(named) == sorted(set(stmbench.__all__) - set(stmbench.list_analyses()))


def test_every_analysis_that_comes_with_stmbench_is_public() -> None:
    assert set(stmbench.list_analyses()) <= set(stmbench.__all__)
