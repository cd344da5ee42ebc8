"""YAML with its lines, and everything that is no YAML of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from stmbench.errors import ConfigError, InputError
from stmbench.sweeps.lines import read_lines
from tests.sweeps.files import write

REFUSED = {
    "": "expected keys and values in e.yaml, got none; begin with `title:`, see experiments/README.md",
    "# a comment alone\n": "expected keys and values in e.yaml, got none;",
    "- a\n- b\n": "expected keys and values in e.yaml, got none;",
    "just words\n": "expected keys and values in e.yaml, got none;",
    "title: A\nmodels:\n\t- b\n": "expected YAML in e.yaml, got found character '\\t' that cannot start any token in "
    "line 3; correct that line",
    "title: A\nmodels: [b\nseeds: [1]\n": "in line 3; correct that line",
    "title: A\n---\ntitle: B\n": "expected YAML in e.yaml, got but found another document in line 2;",
    "title: A\x07B\n": "expected YAML in e.yaml, got special characters are not allowed",
    "title: A\nseeds: [1]\n\ntitle: B\n": "expected the key 'title' once in e.yaml, got a second one in line 4; remove",
    "data:\n  set: digits\n  set: photos\n": "expected the key 'set' once in e.yaml, got a second one in line 3;",
    "title: A\nseeds: &a\n  - *a\n": "expected values that do not hold themselves in e.yaml, got one in line 2; remove",
    "title: A\n? [a, b]\n: c\n": "expected a word as a key in line 2 of e.yaml, got a collection; write `key: value`",
    "title: A\nnote: !!python/name:os.system x\n": "expected a plain value in line 2 of e.yaml, got x; put it in quote",
    "title: A\nnote: 2026-13-45\n": "expected a plain value in line 2 of e.yaml, got 2026-13-45; put it in quotes",
    "title: *nowhere\n": "expected YAML in e.yaml, got found undefined alias 'nowhere' in line 1;",
}


@pytest.mark.parametrize(("text", "said"), REFUSED.items())
def test_what_is_no_mapping_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_lines(write(tmp_path, text))
    assert said in str(caught.value)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe\x00")
    with pytest.raises(InputError, match=r"expected an experiment file, got .*e.yaml \(a file that is not text\)"):
        read_lines(tmp_path / "e.yaml")


def test_a_file_that_is_not_there_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no.yaml \(No such file or directory\); correct the path"):
        read_lines(tmp_path / "no.yaml")
    with pytest.raises(InputError, match=r"\(Is a directory\)"):
        read_lines(tmp_path)


def test_values_know_where_they_and_their_keys_stand(tmp_path: Path) -> None:
    found = read_lines(write(tmp_path, "title: A\nmodels:\n  - b\n  - {model: c,\n     label: d}\n"))
    models = found.value["models"]
    assert (models.key_line, models.line) == (2, 3)
    assert [item.line for item in models.value] == [3, 4]
    label = models.value[1].value["label"]
    assert (label.place, label.key_place) == ("line 5 of e.yaml", "line 5 of e.yaml")
    assert found.plain == {"title": "A", "models": ["b", {"model": "c", "label": "d"}]}


def test_an_anchor_can_be_used_twice(tmp_path: Path) -> None:
    found = read_lines(write(tmp_path, "title: &a {b: 1}\nnote: *a\n"))
    assert found.plain == {"title": {"b": 1}, "note": {"b": 1}}
