"""Experiment files that tests write: tiny ones, and what is refused about others."""

from __future__ import annotations

from pathlib import Path

import pytest

from stmbench.errors import InputError
from stmbench.experiments.reading import read_experiment

MODELS = ("unified_identity_nano", "unified_dw_conv_nano")
HEAD = "title: T\nmodels: [unified_identity_nano, unified_dw_conv_nano]\n"  # two lines
TRAINED = (
    f"{HEAD}control: unified_identity_nano\nweights: trained\ndata: {{set: digits, fractions: [0.1]}}\n"
    "training:\n  change: {epochs: 1, warmup_epochs: 0}\n"
)  # seven lines
TINY = f"{TRAINED}analyses:\n  - {{analysis: eval, num_images: 20}}\n  - {{analysis: erf, num_images: 2}}\n"
RANDOM = (
    f"{HEAD}data: {{set: digits}}\nanalyses:\n  - {{analysis: eval, num_images: 10}}\n"
    "  - {analysis: translation, num_images: 2, levels: [0, 4]}\n"
)


def write(folder: Path, text: str, name: str = "e.yaml") -> Path:
    """The file, written."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refused(folder: Path, text: str, *, mini: bool = False) -> str:
    """What reading a file with this text says."""
    with pytest.raises(InputError) as caught:
        read_experiment(write(folder, text), mini=mini)
    assert caught.value.remedy or "?" in str(caught.value)
    return str(caught.value)
