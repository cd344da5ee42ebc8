"""`import stmbench` gives the public names, and costs nothing until one is used."""

from __future__ import annotations

import pytest

import stmbench
from stmbench.architectures import catalog
from stmbench.mixers import base


def test_public_names_are_the_things_themselves() -> None:
    assert stmbench.create_model is catalog.create_model
    assert stmbench.list_models is catalog.list_models
    assert stmbench.register_mixer is base.register_mixer
    assert callable(stmbench.load_checkpoint)
    assert callable(stmbench.tables.read)


def test_every_public_name_is_listed_and_there() -> None:
    assert set(stmbench.__all__) <= set(dir(stmbench))
    for name in stmbench.__all__:
        assert getattr(stmbench, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'stmbench' has no attribute 'creat_model'"):
        _ = stmbench.creat_model
