"""Command lines that are refused before anything is written: one line, expected and got, exit code 2."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.commands import run

ROOT = Path(__file__).parents[2]

LINES = [
    # empty words, as unset variables of a script give them
    *(
        (f"{command} {option} ''", f"a value after `{option}`, got ''")
        for command, option in [
            ("profile", "--models"),
            ("eval", "--models"),
            ("eval", "--dataset"),
            ("erf", "--stages"),
            ("train", "--out"),
            ("robustness", "--attacks"),
            ("affinity", "--layers"),
            ("invariance scale", "--levels"),
            ("run x", "--weights"),
            ("profile", "-m"),
            ("report x", "-f"),
            ("compare a b", "--models"),
            ("history list", "--machine"),
        ]
    ),
    *(
        (f"{command} ''", f"a value after `{command.split()[-1]}`, got ''")
        for command in [
            "report",
            "watch",
            "export",
            "run",
            "check",
            "dashboard",
            "history add",
            "list models",
            "new mixer",
            "compare x",
        ]
    ),
    ("profile --models ,", "a value after `--models`, got ','"),
    ("profile --models=", "a value after `--models`, got ''"),
    ("invariance translation '--levels= , '", "a value after `--levels`, got ' , '"),
    # an option where the one before it has no value
    (
        "affinity --jacobian --out x",
        "a value after `--jacobian`, got '--out'; give the value, or write --jacobian=--out",
    ),
    ("profile --models --json", "a value after `--models`, got '--json'"),
    ("eval -m --json", "a value after `-m`, got '--json'"),
    ("invariance scale --levels --no-such", "a value after `--levels`, got '--no-such'"),
    # numbers beyond all measure, and none
    ("profile --seed 18446744073709551616", "--seed"),
    ("eval --seed -1", "--seed to be greater than or equal to 0, got '-1'"),
    (f"eval --seed {'9' * 5000}", "--seed"),
    ("profile --batch-size 1e20", "a batch size from 1 to 1048576, or auto, got '1e20'"),
    ("profile --batch-size 100000000000000000000", "a batch size from 1 to 1048576, or auto"),
    (f"profile --batch-size {'9' * 5000}", "or auto, got 5000 characters"),
    ("eval --batch-size 1e20", "--batch-size to be a valid integer"),
    ("eval --batch-size 100000000000000000000", "--batch-size to be less than or equal to 1048576"),
    ("train --batch-size 100000000000000000000", "--batch-size to be less than or equal to 1048576"),
    ("profile --target-width inf", "a target width above 0, got inf"),
    ("profile --target-width nan", "a target width above 0, got nan"),
    ("profile --time-budget inf", "a time budget above 0 s, got inf"),
    ("profile --threads 1000000000", "--threads to be less than or equal to 1024"),
    ("eval --workers 1000000000", "--workers to be less than or equal to 1024"),
    ("run x --workers 1000000000", "a number of workers, or auto, got '1000000000'"),
    ("profile --resolution 999999999", "a resolution of at most 16384, got '999999999'"),
    (f"profile --resolution {'9' * 5000}", "a resolution of at most 16384, got 5000 characters"),
    (f"profile --device cuda:{'9' * 5000}", "a device"),
    ("eval --num-images 0", "--num-images to be greater than or equal to 1, got"),
    ("eval --num-images -5", "--num-images to be greater than or equal to 1, got"),
    ("invariance translation --levels 99999", "levels of translation up to 8192, got 99999"),
    ("invariance rotation --levels 99999", "levels of rotation up to 360, got 99999"),
    ("invariance scale --levels 99999", "crop ratios from 0.01 to 10, got 99999"),
    ("invariance scale --levels nan", "levels of at least 0, got nan"),
    ("invariance translation --levels 0.5", "whole pixels"),
    ("erf --stages 9", "a stage from 1 to 4, got 9"),
    ("erf --stages inf", "whole numbers such as 3, got 'inf'"),
    ("erf --stages nan", "whole numbers such as 3, got 'nan'"),
    ("erf --percent nan", "a percentage above 0 and at most 100, got nan"),
    ("affinity --positions 99999", "positions 0 to"),
    ("affinity --layers 99", "layers"),
    ("affinity --heads 99", "heads 0 to"),
    ("affinity --radii inf", "radii of at least 0 tokens"),
    ("robustness --eps nan", "an eps from 0 to 1, got 'nan'"),
    ("robustness --eps 1/0", "an eps such as 8/255 or 0.03, got '1/0'"),
    ("robustness --steps 0", "--steps to be greater than or equal to 1"),
    ("train --accumulate 1000", "a batch size that can be divided"),
    ("train --seeds 1,1", "each seed once, got '1,1'"),
    ("train --seeds 1,01", "each seed once, got '1,1'"),
    (f"train --seeds {'9' * 5000}", "seeds such as 0,1,2"),
    (f"train --set epochs={'9' * 5000}", "a value such as 0.1"),
    (f"train --set epochs={'[' * 3000}", "a value such as 0.1"),
    ("train --set lr=.nan", "lr"),
    ("train --lr inf", "lr"),
    ("train --epochs 0", "--epochs to be greater than or equal to 1"),
    ("compare . . --margin nan", "a margin for speed from 0 to below 1, got nan"),
    (f"compare {ROOT} {ROOT} --live --margin nan", "a margin above 0 and below 1, got nan"),
    (f"compare {ROOT} {ROOT} --live --time-budget inf", "a time limit above 0 s, got inf"),
    # names
    ("new mixer class", "a mixer name that is no Python keyword, got 'class'"),
    ("new mixer match", "a mixer name that is no Python keyword, got 'match'"),
    ("new mixer ../x", "a mixer name in lower case with underscores"),
    ("check lambda", "a mixer, got 'lambda'"),
    (f"report {'a' * 5000}", "a result store"),
    (f"run {'a' * 5000}", "File name too long"),
    (f"eval --dataset {'a' * 5000}", ""),
    ("report /dev/null", ""),
    ("export /dev/null", ""),
    ("run /dev/null", "an experiment file, got /dev/null (a pipe or a device)"),
    ("history prune --keep 0", "--keep to be greater than or equal to 1"),
    ("history prune --before someday", "--before"),
]


@pytest.mark.parametrize(("line", "piece"), LINES, ids=[line[:60] for line, _ in LINES])
def test_a_command_line_that_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, piece: str) -> None:
    monkeypatch.chdir(tmp_path)
    refusal = run.refusal(*shlex.split(line))
    assert piece in refusal
    assert "Traceback" not in refusal
    assert len(refusal) < 1000
    assert list(tmp_path.iterdir()) == []
