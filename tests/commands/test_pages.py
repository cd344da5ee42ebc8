"""Every summary value that a command writes is in the page that it leaves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stmbench.tables import read
from stmbench.tables.rows import display, number
from tests.commands import run

MODELS = ("--models", "unified_dw_conv_nano,unified_sw_attn_nano", "--resolution", "32")
COMMANDS = {
    "profile": ("--no-timing",),
    "eval": ("--num-images", "10"),
    "erf": ("--num-images", "2", "--percent", "90"),
    "robustness": ("--num-images", "4", "--eps", "0,8/255"),
}


def _in_its_own_unit(value: float, metric: str) -> str:
    return number(value, metric, display(metric, values=[value]))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_row_is_in_the_page(tmp_path: Path, command: str) -> None:
    result = run.stmbench(command, *COMMANDS[command], *MODELS, "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    page = (tmp_path / f"{command}.html").read_text()
    said = set(re.findall(r"[-+\d.,<>e]*\d", re.sub(r"<[^>]*>", " ", page)))
    frame = read(tmp_path)
    rows = frame[(frame["kind"] == "summary") & frame["value"].notna()]
    assert len(rows) > 5
    missing = [
        f"{row['model']} {row['metric']} {row['definition']}"
        for row in rows.to_dict("records")
        if not said & {number(row["value"], row["metric"]), _in_its_own_unit(row["value"], row["metric"])}
    ]
    assert missing == []
    assert "No receptive field was measured" not in page
