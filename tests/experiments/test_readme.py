"""experiments/README.md names every key that a file may have, and its example is one."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from stmbench.analyses.registry import specs
from stmbench.experiments.experiment import Column, DataLines, ModelLine, PublishedLines, TrainingLines
from stmbench.experiments.published import published_values
from stmbench.experiments.reading import KEYS, read_experiment
from stmbench.experiments.steps import EPOCHS

FOLDER = Path(__file__).parents[2] / "experiments"
TEXT = (FOLDER / "README.md").read_text(encoding="utf-8")
LINES = (ModelLine, DataLines, TrainingLines, PublishedLines, Column)
FIELDS = {field.name for kind in LINES for field in dataclasses.fields(kind)} | {EPOCHS}


@pytest.mark.parametrize(
    "key", sorted({*KEYS, *FIELDS, *(spec_name for spec in specs() for spec_name in spec.step_names)})
)
def test_every_key_is_explained(key: str) -> None:
    example = re.findall(r"```yaml\n.*?```", TEXT, flags=re.DOTALL)
    prose = TEXT.replace(example[0], "")
    assert re.search(rf"`[^`\n]*\b{key}\b[^`\n]*`", prose)


def test_the_example_is_an_experiment(tmp_path: Path) -> None:
    example = re.search(r"```yaml\n(.*?)```", TEXT, flags=re.DOTALL)
    assert example is not None
    path = tmp_path / "example.yaml"
    path.write_text(example[1], encoding="utf-8")
    assert [value.value for value in published_values(read_experiment(path))] == [4.4e6, 0.751]
    assert read_experiment(path, mini=True).weights == "trained"


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.yaml")))
def test_every_file_is_listed(name: str) -> None:
    assert f"`{name}`" in TEXT
