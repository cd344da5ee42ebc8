"""Errors are one line: expected X, got Y; the remedy."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from stmbench import errors


def test_an_input_error_states_what_was_expected_what_was_given_and_the_remedy() -> None:
    error = errors.InputError("a\n  number", "'x'", "give a number")
    assert str(error) == "expected a number, got 'x'; give a number"
    assert (error.expected, error.got, error.remedy) == ("a\n  number", "'x'", "give a number")


@pytest.mark.parametrize(
    ("got", "line"),
    [
        ("expected disk space, got none; free some", "expected disk space, got none; free some"),
        ("at base: ConfigError: expected a, got b; c", "expected a, got b (at base); c"),
        ("costs of m: expected a, got b; c", "expected a, got b (costs of m); c"),
        ("unexpected, got worse", "expected a model, got unexpected, got worse; change it"),
        ("'unexpected x, got y; z'", "expected a model, got 'unexpected x, got y; z'; change it"),
    ],
)
def test_errors_are_not_nested(got: str, line: str) -> None:
    assert str(errors.ConfigError("a model", got, "change it")) == line


@pytest.mark.parametrize(
    ("name", "known", "remedy"),
    [
        ("dw_conf", ["dw_conv", "halo_attn"], "did you mean dw_conv?"),
        ("dw_con", ["dw_conv", "dw_cone"], "did you mean dw_conv or dw_cone?"),
        ("zzz", ["b", "a"], "known: a, b"),
        ("zzz", [], "known: none"),
        ("zzz", [f"name{i}" for i in range(13)], "13 are known, see `stmbench list`"),
    ],
)
def test_an_unknown_name_comes_with_the_nearest(name: str, known: list[str], remedy: str) -> None:
    error = errors.UnknownNameError("mixer", name, known)
    assert str(error) == f"expected a mixer, got {name!r}; {remedy}"


def test_require_raises_a_config_error_only_if_the_condition_fails() -> None:
    errors.require(True, "kernel >= 1", 3)
    with pytest.raises(errors.ConfigError, match=r"^expected kernel >= 1, got 0; change the option$"):
        errors.require(False, "kernel >= 1", 0)
    with pytest.raises(errors.ConfigError, match=r"^expected a name, got 'x'; change the recipe$"):
        errors.require(False, "a name", "x", "change the recipe")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf"), np.float32("nan")])
def test_a_number_that_is_not_finite_is_named_with_its_option(number: float) -> None:
    errors.require_finite({"kernel": 3, "share": 0.5, "huge": 10**400, "word": "nan", "none": None, "all": (1, 2.5)})
    for value in (number, (0.5, number), [number]):
        with pytest.raises(errors.ConfigError, match=r"^expected a finite number for ratio, got .*; change it$"):
            errors.require_finite({"kernel": 3, "ratio": value}, "change it")


def test_the_article_fits_the_kind() -> None:
    assert str(errors.UnknownNameError("architecture", "x", [])).startswith("expected an architecture,")


@pytest.mark.parametrize(
    "kind", [errors.ConfigError, errors.PluginError, errors.CheckpointError, errors.TableError, errors.OutputError]
)
def test_what_the_user_can_fix_is_an_input_error(kind: type[errors.InputError]) -> None:
    assert issubclass(kind, errors.InputError)
    assert isinstance(kind("a", "b", "c"), errors.StmbenchError)


@pytest.mark.parametrize("kind", [errors.DuplicateNameError, errors.CountError, errors.UnitError])
def test_other_errors_are_ours_too(kind: type[errors.StmbenchError]) -> None:
    assert issubclass(kind, errors.StmbenchError)
    assert not issubclass(kind, errors.InputError)
    assert str(pickle.loads(pickle.dumps(kind("one line")))) == "one line"
