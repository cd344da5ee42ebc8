"""The documents' tables of recipes say what the recipes are."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from stmbench.training.presets import BY_FAMILY, NAMES, recipe_for
from tests.docs.documented import ROOT

PAGES = ("training", "detection", "self_supervision")
OPTIMIZERS = {"AdamW": "adamw", "SGD (Nesterov, 0.9)": "sgd", "SGD (0.9)": "momentum", "SGD": "momentum"}
NUMBER = re.compile(r"[\d.]+(?:e-?\d+)?")


def _rows() -> Iterator[tuple[str, dict[str, str]]]:
    """Name and cells of each recipe; a column of several values is as many columns."""
    for page in PAGES:
        lines = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8").split("\n")
        start = next(number for number, line in enumerate(lines) if line.startswith("| recipe |"))
        header = _cells(lines[start])
        for line in lines[start + 2 :]:
            if not line.startswith("|"):
                break
            values = dict[str, str]()
            for columns, cell in zip(header, _cells(line), strict=True):
                names = columns.split(", ")
                parts = cell.split(", ") if len(names) > 1 else [cell]
                values |= dict(zip(names, parts, strict=True)) if len(parts) == len(names) else {}
            yield values["recipe"].strip("`"), values


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


ROWS = dict(_rows())


def test_every_recipe_has_a_row() -> None:
    assert set(ROWS) == set(NAMES)


@pytest.mark.parametrize("name", [name for name in NAMES if name != BY_FAMILY])
def test_a_row_says_what_the_recipe_is(name: str) -> None:
    row, recipe = ROWS[name], recipe_for(name)
    rate = next((cell for column, cell in row.items() if "rate" in column), None)
    for cell, value in (
        (row.get("epochs"), recipe.epochs),
        (row.get("batch"), recipe.batch_size),
        (row.get("decay"), recipe.weight_decay),
        (row.get("warm-up"), recipe.warmup_epochs),
        (rate, recipe.scaled_lr),
    ):
        if cell is not None and (number := NUMBER.match(cell)) is not None:
            assert float(number[0]) == pytest.approx(value)
    if (optimizer := row.get("optimiser")) in OPTIMIZERS:
        assert OPTIMIZERS[optimizer] == recipe.optimizer
