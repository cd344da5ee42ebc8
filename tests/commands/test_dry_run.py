"""`--dry-run` of analyses and training writes nothing; weights are found by the name of their model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands.run import stmbench

TRAIN = ("train", "unified_identity_nano", "--epochs", "1", "--set", "warmup_epochs=0.5")


@pytest.mark.parametrize(
    "arguments",
    [
        ("erf", "unified_identity_nano", "unified_pooling_nano", "--num-images", "2"),
        ("eval", "unified_identity_nano"),
        ("profile", "unified_identity_nano", "--time-budget", "1"),
        TRAIN,
    ],
)
def test_a_dry_run_says_how_long_and_writes_nothing(arguments: tuple[str, ...], tmp_path: Path) -> None:
    result = stmbench(*arguments, "--dry-run", "--out", str(tmp_path / "store"))
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("about ")
    assert list(tmp_path.iterdir()) == []


def test_train_ends_with_the_next_command_which_finds_the_weights_by_name(tmp_path: Path) -> None:
    out = str(tmp_path / "trained")
    trained = stmbench(*TRAIN, "--out", out)
    assert trained.exit_code == 0, trained.output
    (line,) = [line for line in trained.stderr.splitlines() if line.startswith("next ")]
    words = line.split()[1:]
    assert words[:2] == ["stmbench", "eval"]
    evaluated = stmbench(*words[1:], "--out", str(tmp_path / "eval"))
    assert evaluated.exit_code == 0, evaluated.output
    assert "digits.e1.s0" in evaluated.stdout
    again = stmbench(*words[1:], "--dry-run", "--out", str(tmp_path / "eval"))
    assert again.stdout.endswith("eval has all of it\n")
