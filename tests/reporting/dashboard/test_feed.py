"""The feed: losses only, one entry a commit, the same when built again, and well-formed whatever users named."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from stmbench.history.record import SeriesKey
from stmbench.reporting.dashboard.feed import MOST, feed_text
from tests.history.series import machines, noisy, record, series_key
from tests.history.stores import sha

ATOM = {"a": "http://www.w3.org/2005/Atom"}
WORSE = {series_key(): noisy((20, 100.0), (20, 90.0))}


def _feed(table: dict[SeriesKey, list[float]], *, text: str = "", url: str | None = None) -> ET.Element:
    return ET.fromstring(feed_text(machines(table, text=text), title="Speeds", url=url).encode())


def _text(parent: ET.Element, path: str) -> str:
    found = parent.findtext(path, namespaces=ATOM)
    assert found is not None, path
    return found


def test_entry_states_metric_conditions_and_change() -> None:
    feed = _feed(WORSE)
    (entry,) = feed.findall("a:entry", ATOM)
    assert _text(entry, "a:title") == f"unified_dw_conv_micro: throughput -9.9 % at {sha(20)[:12]}"
    assert _text(entry, "a:updated") == "2026-01-21T00:00:00Z"
    content = _text(entry, "a:content")
    assert "Change 20, on AMD EPYC, 2 cores" in content
    assert "cpu, fp32, 224 px" in content
    link = entry.find("a:link", ATOM)
    assert link is not None
    assert link.get("href", "").startswith("index.html#machine=0123456789ab&metric=throughput&model=unified_dw_conv_")
    assert _text(feed, "a:updated") == "2026-02-09T00:00:00Z"


def test_improvements_and_undirected_metrics_are_left_out() -> None:
    assert _feed({series_key(): noisy((20, 100.0), (20, 120.0))}).findall("a:entry", ATOM) == []
    assert _feed({series_key("latency"): noisy((20, 1.0), (20, 0.9))}).findall("a:entry", ATOM) == []
    assert len(_feed({series_key("latency"): noisy((20, 1.0), (20, 1.2))}).findall("a:entry", ATOM)) == 1
    assert len(_feed({series_key("accuracy"): noisy((20, 0.8), (20, 0.7))}).findall("a:entry", ATOM)) == 1


def test_regressions_of_one_commit_share_an_entry() -> None:
    (entry,) = _feed({**WORSE, series_key("params"): [1e6] * 20 + [2e6] * 20}).findall("a:entry", ATOM)
    assert _text(entry, "a:title").endswith(f"at {sha(20)[:12]} and 1 more")
    assert _text(entry, "a:content").count("<li>") == 2


def test_identifiers_and_times_stay_when_commits_are_added() -> None:
    longer = {key: [*values, *noisy((10, 90.0), seed=1)] for key, values in WORSE.items()}
    for before, after in zip(
        _feed(WORSE).findall("a:entry", ATOM), _feed(longer).findall("a:entry", ATOM), strict=True
    ):
        assert _text(before, "a:id") == _text(after, "a:id")
        assert _text(before, "a:updated") == _text(after, "a:updated")
    again = [feed_text(machines(WORSE), title="Speeds", url=None) for _ in range(2)]
    assert again[0] == again[1]


def test_url_makes_links_absolute() -> None:
    feed = _feed(WORSE, url="https://example.org/bench")
    links = [link.get("href", "") for link in feed.iter(f"{{{ATOM['a']}}}link")]
    assert links[:2] == ["https://example.org/bench/index.html", "https://example.org/bench/feed.xml"]
    assert links[2].startswith("https://example.org/bench/index.html#machine=")


def test_names_are_escaped_twice_in_html_and_once_in_text() -> None:
    model = "<script>alert(1)</script>&\x07\ufffe"
    (entry,) = _feed({series_key(model=model): noisy((20, 100.0), (20, 90.0))}, text="<b>]]>").findall("a:entry", ATOM)
    assert _text(entry, "a:title").startswith("<script>alert(1)</script>&\\x07\\ufffe: throughput")
    content = ET.fromstring(f"<div>{_text(entry, 'a:content')}</div>")  # as a reader would parse it
    assert [item.tag for item in content.iter()] == ["div", "p", "ul", "li"]
    assert "<script>alert(1)</script>&" in "".join(content.itertext())


def test_number_of_entries_is_limited(tmp_path: Path) -> None:
    from stmbench.history.series import machines_of

    params = series_key("params")
    records = [record(number, {params: float(number + 1)}) for number in range(MOST + 20)]
    feed = ET.fromstring(feed_text(machines_of(records), title="t", url=None).encode())
    titles = [_text(entry, "a:title") for entry in feed.findall("a:entry", ATOM)]
    assert len(titles) == MOST
    assert titles[0].endswith(sha(MOST + 19)[:12])  # the newest
