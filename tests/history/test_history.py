"""Records come into a history, are listed in order, and go."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
from pathlib import Path

import pytest

from stmbench.errors import ConfigError, InputError, TableError, UnknownNameError
from stmbench.history import adding
from stmbench.history.folder import MARK, History, in_commit_order, old_records
from stmbench.history.record import SUMMARY
from stmbench.tables import read
from tests.history.stores import MACHINE, START, history, known, sha, store
from tests.tables.frames import failed_row, profile_rows


def test_a_store_becomes_a_record_that_is_a_store_with_its_facts(tmp_path: Path) -> None:
    source = store(tmp_path / "store", sha(3), dirty=True)
    source.artifact("unit", "map.npy").write_bytes(b"array")
    (added,) = adding.add(source, History(tmp_path / "h"), find=known)
    assert added.folder == tmp_path / "h" / MACHINE / f"20260101T030000Z-{sha(3)[:12]}"
    assert len(read(added.folder)) == len(read(source.folder))
    assert (added.folder / "parts" / "unit.map.npy").read_bytes() == b"array"
    (record,) = History(tmp_path / "h").records()
    assert record.facts == added.facts
    assert (record.facts.subject, record.facts.parents, record.facts.changed) == ("Change 3", (sha(2),), True)
    assert not list(tmp_path.glob("h/**/*.tmp"))


def test_the_summary_holds_one_value_a_model_and_metric_and_the_probe(tmp_path: Path) -> None:
    (record,) = history(tmp_path, [1]).records()
    values = {(value.key.model, value.key.metric): value for value in record.summary().values}
    metrics = {metric for model, metric in values if model == "unified_dw_conv_micro"}
    assert metrics == {"params", "macs", "activations", "throughput", "latency", "peak_memory"}
    assert values[None, "probe_peak"].value == 96e9
    throughput = values["unified_dw_conv_micro", "throughput"]
    assert throughput.low < throughput.value < throughput.high
    assert math.isnan(values["unified_dw_conv_micro", "params"].low)
    assert values["unified_dw_conv_micro", "latency"].key.condition == "p50"


@pytest.mark.parametrize("damage", ["missing", "not JSON", "another version", "a part went"])
def test_a_summary_that_is_missing_or_stale_is_made_again(tmp_path: Path, damage: str) -> None:
    (record,) = history(tmp_path, [1]).records()
    before, path = record.summary(), record.folder / SUMMARY
    match damage:
        case "missing":
            path.unlink()
        case "not JSON":
            path.write_text("{", encoding="utf-8")
        case "another version":
            path.write_text(json.dumps({**json.loads(path.read_text()), "version": 0}), encoding="utf-8")
        case _:
            store(record.folder, sha(1), key="more", rows=[failed_row()])
    after = record.summary()
    assert {v.key: v.value for v in after.values} == {v.key: v.value for v in before.values}
    assert len(after.failures) == (damage == "a part went")
    assert json.loads(path.read_text())["parts"]


def test_what_is_measured_twice_counts_as_measured_last(tmp_path: Path) -> None:
    rows = [row for row in profile_rows(["dw_conv"], raw=False) if row.metric == "params"]
    later = [dataclasses.replace(r, value=7.0, created_utc=r.created_utc + datetime.timedelta(hours=1)) for r in rows]
    (record,) = history(tmp_path, [1], rows=[*later, *rows]).records()
    assert [value.value for value in record.summary().values] == [7.0]


def test_records_are_in_the_order_of_parents_then_of_dates(tmp_path: Path) -> None:
    records = history(tmp_path, [5, 2, 9, 3]).records()
    assert [record.facts.subject for record in records] == ["Change 2", "Change 3", "Change 5", "Change 9"]
    child, parent = records[0], records[1]
    late = dataclasses.replace(parent, facts=dataclasses.replace(parent.facts, parents=()))
    early = dataclasses.replace(child, facts=dataclasses.replace(child.facts, parents=(sha(3),)))
    assert [record.facts.commit for record in in_commit_order([early, late])] == [sha(3), sha(2)]
    circle = dataclasses.replace(late, facts=dataclasses.replace(late.facts, parents=(sha(2),)))
    with pytest.raises(InputError, match="a cycle of"):
        in_commit_order([early, circle])


def test_a_commit_is_recorded_once_a_machine_unless_replaced(tmp_path: Path) -> None:
    made = history(tmp_path, [1])
    again = store(tmp_path / "again", sha(1), rows=[failed_row()])
    with pytest.raises(TableError, match=r"no record yet for commit .* got 20260101T010000Z-.*; give --replace"):
        adding.add(again, made, find=known)
    other = store(tmp_path / "other", sha(1), machine="ffffffffffff")
    adding.add(other, made, find=known)
    assert [record.facts.machine for record in made.records()] == [MACHINE, "ffffffffffff"]
    adding.add(again, made, find=known, date=START, replace=True)
    first = made.records()[0]
    assert (first.facts.date, first.summary().values) == (START, ())
    assert first.summary().failures[0].reason == "out of memory"
    assert len(list(made.folder.glob("*/*"))) == 2


def test_a_store_of_several_machines_becomes_several_records(tmp_path: Path) -> None:
    source = store(tmp_path / "s", sha(1))
    store(tmp_path / "s", sha(1), machine="ffffffffffff", key="other")
    assert len(adding.add(source, History(tmp_path / "h"), find=known)) == 2


def test_parts_without_a_commit_are_given_one(tmp_path: Path) -> None:
    source = store(tmp_path / "s", None)
    with pytest.raises(TableError, match=r"that say their commit, got none .*; give --commit"):
        adding.add(source, History(tmp_path / "h"), find=known)
    (added,) = adding.add(source, History(tmp_path / "h"), find=lambda name: adding.Commit(sha=name), commit="abcdef12")
    assert added.facts.date == read(source.folder)["created_utc"].max()


def test_pruning_keeps_the_newest_of_each_machine(tmp_path: Path) -> None:
    made = history(tmp_path, range(1, 6))
    history(tmp_path, [4], machine="ffffffffffff")
    records = made.records()
    assert [record.facts.subject for record in old_records(records, keep=2)] == [
        "Change 1",
        "Change 2",
        "Change 3",
    ]
    before = START + datetime.timedelta(hours=2, minutes=30)
    assert [record.facts.subject for record in old_records(records, before=before)] == [
        "Change 1",
        "Change 2",
    ]
    assert old_records(records, keep=1, machine="ffffffffffff") == []
    with pytest.raises(UnknownNameError, match="a machine of the history"):
        old_records(records, keep=1, machine="0000")
    for record in old_records(records, keep=1, before=START + datetime.timedelta(hours=99)):
        made.remove(record)
    assert [path.name for path in made.folder.iterdir()] == [MARK]


GITHUB = "https://github.com/a/b.c/commit/{commit}"


@pytest.mark.parametrize(
    ("remote", "url"),
    [
        ("git@github.com:a/b.c.git", GITHUB),
        ("https://github.com/a/b.c\n", GITHUB),
        ("https://user:secret@github.com/a/b.c.git", GITHUB),
        ("ssh://git@github.com:22/a/b.c.git", GITHUB),
        ("https://gitlab.example.org/group/sub/b.git", "https://gitlab.example.org/group/sub/b/-/commit/{commit}"),
        ("git@bitbucket.org:a/b.git", "https://bitbucket.org/a/b/commits/{commit}"),
        ("https://example.org/a/b.git", None),
        ("/srv/github/a.git", None),
        ("javascript:github//alert(1)", None),
        ('https://github.com/a/b"onclick=x', None),
        ("", None),
    ],
)
def test_a_remote_says_where_commits_are_shown(remote: str, url: str | None) -> None:
    assert adding.commit_url(remote) == url


def test_a_record_knows_where_its_commit_is_shown(tmp_path: Path) -> None:
    made = History(tmp_path / "h")
    for number, url in enumerate((GITHUB, None)):
        source = store(tmp_path / f"s{number}", sha(number))
        adding.add(source, made, find=lambda name, url=url: dataclasses.replace(known(name), url=url))  # type: ignore[misc]
    assert [record.facts.commit_url for record in made.records()] == [GITHUB, None]


def test_commits_are_told_by_git_or_by_the_user(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    if (root / ".git").exists():
        head = adding.find("HEAD", root)
        assert adding.find(head.sha[:10], root) == head
        assert head.date is not None
        assert head.subject
    assert adding.find("ABCDEF1234", tmp_path) == adding.Commit(sha="abcdef1234")
    for wrong in ("main", "", "--all", "123", "../x"):
        with pytest.raises(ConfigError, match="a commit"):
            adding.find(wrong, tmp_path)
    assert adding.one_line("a\n\tb\x1b[31m" + "c" * 300) == "a b\\x1b[31m" + "c" * 189
    assert adding.parse_date("2026-01-01", "--date") == START
    assert adding.parse_date("2026-01-01T01:00:00+01:00", "--date") == START
    with pytest.raises(ConfigError, match="change --before"):
        adding.parse_date("yesterday", "--before")
