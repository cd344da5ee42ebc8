"""The dashboard's files: what is embedded, what is escaped, and what is refused."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stmbench.errors import ConfigError, OutputError, TableError, printable
from stmbench.history.series import events_of
from stmbench.reporting.dashboard import labels
from stmbench.reporting.dashboard.data import payload
from stmbench.reporting.dashboard.page import render, write_dashboard
from tests.history.series import machines, noisy, series_key

EVIL = "</script><script>alert(1)</script><!-- \u2028 ]]>&\"'"


def _embedded(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_values_are_packed_in_display_units() -> None:
    table = {series_key("latency"): [0.01, float("nan"), 0.02], series_key("params"): [4e6, 4e6, 5e6]}
    (machine,) = payload(machines(table), commit_url=None)["machines"]
    latency, params = machine["series"]
    numbers = np.frombuffer(base64.b64decode(latency["values"]), "<f4")
    np.testing.assert_allclose(numbers, [10, np.nan, 20], rtol=1e-6)
    assert (latency["unit"], latency["better"], latency["low"]) == ("ms", "lower", None)
    assert (params["levels"], params["starts"]) == ([4.0, 5.0], [0, 2])
    (event,) = machine["events"]
    shown = {name: event[name] for name in ("commit", "before", "after", "change", "worse", "verdict")}
    expected = {"commit": 2, "before": "4.00 M", "after": "5.00 M", "change": "+25.0 %", "worse": 1, "verdict": "worse"}
    assert shown == expected


def test_all_series_of_a_metric_share_a_unit() -> None:
    table = {series_key("macs", model="a"): [2e6, 2e6], series_key("macs", model="b"): [5e9, 5e9]}
    (machine,) = payload(machines(table), commit_url=None)["machines"]
    found = [(series["unit"], series["levels"]) for series in machine["series"]]
    assert found == [("GMACs", [0.002]), ("GMACs", [5.0])]


WORDS = [
    ("params", 4_400_000, 4_404_400, ("4.4000 M", "4.4044 M"), "+0.1 %"),
    ("params", 20_000_000, 20_000_001, ("20.0000000 M", "20.0000010 M"), "+5e-06 %"),
    ("macs", 2e6, 1.9e6, ("2.00 MMACs", "1.90 MMACs"), "-5.0 %"),
    ("accuracy", 0.80, 0.78, ("80.0 %", "78.0 %"), "-2.00 points"),
    ("params", 0, 5_000_000, ("0.00 M", "5.00 M"), "from 0"),
]


@pytest.mark.parametrize(("metric", "before", "after", "levels", "change"), WORDS)
def test_change_point_in_words(metric: str, before: float, after: float, levels: tuple[str, str], change: str) -> None:
    (machine,) = machines({series_key(metric): [before] * 8 + [after] * 8})
    (event,) = events_of(machine)
    assert labels.before_and_after(event, labels.displays(machine)[metric]) == levels
    assert labels.change(event) == change


def test_conditions_leave_out_the_noise_input_of_a_profile() -> None:
    key = series_key("latency", batch_size=1, condition="p50", compile=True, dataset="noise:3x224x224")
    told = labels.conditions(key)
    assert told == "cpu, fp32, compiled, 224 px, batch 1, p50"
    assert labels.conditions(series_key(resolution=None, dataset="noise:3x224x320")) == "cpu, fp32, 224x320 px"
    robust = series_key("accuracy", analysis="robustness", definition="fgsm.v1", dataset="digits:ab12", level=0.5)
    assert labels.conditions(robust) == "fgsm.v1, cpu, fp32, digits, 224 px, level 0.5"


def test_user_text_is_escaped(tmp_path: Path) -> None:
    found = machines({series_key(model=EVIL, mixer=EVIL): noisy((9, 1.0), (9, 0.5))}, text=EVIL)
    page = write_dashboard(found, tmp_path, title=EVIL)["page"].read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert page.count("</script>") == 2  # the data's and the code's
    assert "<!--" not in page
    (machine,) = _embedded(page)["machines"]
    assert machine["series"][0]["model"] == printable(EVIL)
    assert machine["commits"][0][2] == printable(EVIL)


def test_page_loads_nothing_from_the_network() -> None:
    page = render(machines({series_key(): [1.0]}), title="t", commit_url=None)
    assert "default-src 'none'" in page
    assert re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"'\s>)]*)""", page) == [
        "feed.xml",
        "#charts",
        *["feed.xml"] * 2,
    ]
    assert "fetch(" not in page
    assert "http" not in re.sub(r"http-equiv|http://www\.w3\.org/2000/svg", "", page)


def test_commits_are_linked_to_the_remote_unless_told_otherwise() -> None:
    (machine,) = machines({series_key(): [1.0, 2.0, 3.0]})
    pages = ["https://old.org/{commit}", "https://new.org/{commit}", "javascript:alert('{commit}')"]
    commits = [
        dataclasses.replace(facts, commit_url=url, added=facts.added + datetime.timedelta(days=day))
        for day, (facts, url) in enumerate(zip(machine.commits, pages, strict=True))
    ]
    linked = dataclasses.replace(machine, commits=commits)
    for given, found in ((None, pages[1]), ("https://mine.org/{commit}", "https://mine.org/{commit}")):
        assert _embedded(render([linked], title="t", commit_url=given))["commitUrl"] == found
    assert _embedded(render([machine], title="t", commit_url=None))["commitUrl"] is None


def test_writing_replaces_only_its_own_files(tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("x")
    for title in ("first", "second"):
        write_dashboard(machines({series_key(): [1.0]}), tmp_path, title=title)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["feed.xml", "index.html", "kept.txt"]
    assert "<h1>second</h1>" in (tmp_path / "index.html").read_text()


def test_invalid_input_or_folder_is_refused(tmp_path: Path) -> None:
    found = machines({series_key(): [1.0]})
    with pytest.raises(TableError, match="expected a history with records"):
        write_dashboard([], tmp_path, title="t")
    for wrong in ("https://example.org/commit", "javascript:alert('{commit}')"):
        with pytest.raises(ConfigError, match="an http"):
            write_dashboard(found, tmp_path, title="t", commit_url=wrong)
    with pytest.raises(ConfigError, match="--url"):
        write_dashboard(found, tmp_path, title="t", url="ftp://example.org")
    (tmp_path / "file").write_text("x")
    (tmp_path / "taken" / "index.html").mkdir(parents=True)
    for name in ("file", "taken"):
        with pytest.raises(OutputError, match="choose another with --out"):
            write_dashboard(found, tmp_path / name, title="t")
