"""What the child process that measures memory is asked to run, in a child process for real."""

from __future__ import annotations

import dataclasses

import pytest

from stmbench.analyses.profile.subjects import SubjectSpec
from stmbench.analyses.profile.tasks import PREPARE
from stmbench.measure.memory import MemorySpec, peak_of_child


def peak(images: str) -> int:
    spec = SubjectSpec(model="unified_dw_conv_nano", resolution=(224, 224), images=images)
    arguments = {"spec": dataclasses.asdict(spec), "batch": 8, "plugins": []}
    return peak_of_child(MemorySpec(target=PREPARE, arguments=arguments, threads=1)).bytes


def test_memory_is_the_models_whatever_the_images() -> None:
    pytest.importorskip("skimage")
    noise, photos = peak("noise"), peak("photos")
    weights, inputs = 4 * 771_016, 4 * 8 * 3 * 224 * 224
    assert noise > weights + inputs
    pictures = 28 * inputs // 8
    assert abs(photos - noise) < pictures < noise, "neither the pictures nor what reads them"
