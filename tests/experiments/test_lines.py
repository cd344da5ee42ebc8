"""YAML with its lines, and everything that is no YAML of ours."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stmbench.errors import ConfigError, InputError
from stmbench.experiments.reading import merged
from stmbench.experiments.yaml_values import read_lines
from tests.experiments.files import write

# nine levels of ten aliases each: a billion values
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)
REFUSED = {
    "": "expected keys and values in e.yaml, got none; begin with `title:`, see experiments/README.md",
    "# a comment alone\n": "expected keys and values in e.yaml, got none;",
    "- a\n- b\n": "expected keys and values in e.yaml, got none;",
    "just words\n": "expected keys and values in e.yaml, got none;",
    "title: A\nmodels:\n\t- b\n": "expected YAML in e.yaml, got found character '\\t' that cannot start any token in "
    "line 3; correct that line",
    "title: A\nmodels: [b\nseeds: [1]\n": "in line 3; correct that line",
    "title: A\n---\ntitle: B\n": "expected YAML in e.yaml, got but found another document in line 2;",
    "title: A\x07B\n": "expected YAML in e.yaml, got special characters are not allowed in line 1",
    "title: A\nseeds: [1]\n\ntitle: B\n": "expected the key 'title' once in e.yaml, got a second one in line 4; remove",
    "data:\n  set: digits\n  set: photos\n": "expected the key 'set' once in e.yaml, got a second one in line 3;",
    "title: A\nseeds: &a\n  - *a\n": "expected values that do not hold themselves in e.yaml, got one in line 2; remove",
    "title: A\n? [a, b]\n: c\n": "expected a word as a key in line 2 of e.yaml, got a collection; write `key: value`",
    "title: A\nnote: !!python/name:os.system x\n": "expected a plain value in line 2 of e.yaml, got x; put it in quote",
    "title: A\nnote: 2026-13-45\n": "expected a plain value in line 2 of e.yaml, got 2026-13-45; put it in quotes",
    "title: A\nnote: !!bool x\n": "expected a plain value in line 2 of e.yaml, got x; put it in quotes",
    "title: A\nnote: !!int ''\n": "expected a plain value in line 2 of e.yaml, got ; put it in quotes",
    "title: A\nnote: !!timestamp x\n": "expected a plain value in line 2 of e.yaml, got x; put it in quotes",
    "title: A\ndata: {[a, b]: c}\n": "expected a word as a key in line 2 of e.yaml, got a collection;",
    "title: A\n? {a: b}\n: c\n": "expected a word as a key in line 2 of e.yaml, got a collection;",
    f"title: A\nseeds: {'9' * 5000}\n": "expected a plain value in line 2 of e.yaml, got 999",
    f"title: A\nseeds: {'9' * 4000}\n": "expected a number of at most 19 digits in line 2 of e.yaml, got 999",
    f"title: A\nseeds: {'[' * 3000}{']' * 3000}\n": "expected at most 30 levels in e.yaml, got more in line 2;",
    f"title: A\nseeds: {'{a: ' * 3000}{'}' * 3000}\n": "expected at most 30 levels in e.yaml, got more in line 2;",
    "a:\n" + "".join(f"{' ' * n}-\n" for n in range(1, 300)): "expected at most 30 levels in e.yaml, got more in line",
    BOMB: "expected at most 10000 values in e.yaml, got more from line 1 on; remove aliases",
    "title: *nowhere\n": "expected YAML in e.yaml, got found undefined alias 'nowhere' in line 1;",
}


@pytest.mark.parametrize(("text", "said"), REFUSED.items(), ids=range(len(REFUSED)))
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
    source = read_lines(write(tmp_path, "title: A\nmodels:\n  - b\n  - {model: c,\n     label: d}\n"))
    models = source.value["models"]
    assert (models.key_line, models.line) == (2, 3)
    assert [item.line for item in models.value] == [3, 4]
    label = models.value[1].value["label"]
    assert (label.place, label.key_place) == ("line 5 of e.yaml", "line 5 of e.yaml")
    assert source.plain == {"title": "A", "models": ["b", {"model": "c", "label": "d"}]}


def test_an_anchor_can_be_used_twice(tmp_path: Path) -> None:
    source = read_lines(write(tmp_path, "title: &a {b: 1}\nnote: *a\n"))
    assert source.plain == {"title": {"b": 1}, "note": {"b": 1}}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_a_device_and_an_endless_file_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "link.yaml").symlink_to("pipe.yaml")
    for path in (tmp_path / "pipe.yaml", tmp_path / "link.yaml", Path("/dev/zero")):
        with pytest.raises(InputError, match=r"\(a pipe or a device\); correct the path"):
            read_lines(path)
    with (tmp_path / "large.yaml").open("wb") as file:
        file.truncate(2**40)  # takes no room
    with pytest.raises(InputError, match=r"expected an experiment file of at most 200000 characters, got .*large.yaml"):
        read_lines(tmp_path / "large.yaml")


def test_chains_of_includes_end(tmp_path: Path) -> None:
    for n in range(40):
        write(tmp_path, f"include: [{n + 1}.yaml, {n + 1}.yaml]\n", f"{n}.yaml")
    write(tmp_path, "title: T\n", "40.yaml")
    with pytest.raises(ConfigError, match=r"expected at most 8 files that include one another, .* in line 1 of 7.yaml"):
        merged(tmp_path / "0.yaml")
    with pytest.raises(ConfigError, match=r"and 64 in all, in line 1 of 3\d.yaml, got more"):
        merged(tmp_path / "33.yaml")
    assert set(merged(tmp_path / "36.yaml")) == {"title"}
