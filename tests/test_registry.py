"""The registry: names in order, duplicates refused, near names suggested, built-in entries loaded when first asked."""

from __future__ import annotations

import threading
import time

import pytest

from stmbench.errors import DuplicateNameError, UnknownNameError
from stmbench.registry import Registry


@pytest.fixture
def registry() -> Registry[int]:
    found: Registry[int] = Registry("mixer")
    for name, value in (("halo_attn", 1), ("dw_conv", 2), ("sw_attn", 3)):
        found.register(name, value)
    return found


def test_entries_come_back(registry: Registry[int]) -> None:
    assert registry.get("dw_conv") == 2
    assert "dw_conv" in registry
    assert "dw_conf" not in registry
    assert len(registry) == 3


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*", ["halo_attn", "dw_conv", "sw_attn"]),
        ("*_attn", ["halo_attn", "sw_attn"]),
        ("dw", []),
        ("d?_conv", ["dw_conv"]),
    ],
)
def test_names_match_shell_patterns_in_the_order_of_registration(
    registry: Registry[int], pattern: str, names: list[str]
) -> None:
    assert registry.names(pattern) == names
    assert list(registry) == registry.names()


def test_a_name_is_registered_once(registry: Registry[int]) -> None:
    with pytest.raises(DuplicateNameError, match="the mixer 'dw_conv' is registered already"):
        registry.register("dw_conv", 9)
    assert registry.get("dw_conv") == 2


def test_an_unknown_name_gets_suggestions(registry: Registry[int]) -> None:
    with pytest.raises(UnknownNameError, match=r"expected a mixer, got 'dw_conf'; did you mean dw_conv\?"):
        registry.get("dw_conf")


def test_a_name_can_be_forgotten(registry: Registry[int]) -> None:
    registry.unregister("dw_conv")
    registry.unregister("never_there")
    assert registry.names() == ["halo_attn", "sw_attn"]


def test_built_in_entries_are_loaded_once_and_before_those_of_others() -> None:
    calls = []

    def load() -> None:
        calls.append("load")
        registry.register("built_in", 1)

    registry: Registry[int] = Registry("mixer", load=load)
    assert calls == []
    registry.register("mine", 2)  # could take a built-in name, were they not loaded
    assert calls == ["load"]
    assert set(registry.names()) == {"mine", "built_in"}
    assert registry.get("built_in") == 1
    assert calls == ["load"]


def test_threads_wait_until_everything_is_registered() -> None:
    begun, found = threading.Event(), list[str]()

    def load() -> None:
        begun.set()
        time.sleep(0.05)
        registry.register("built_in", 1)
        found.extend(registry.names())  # the thread that loads sees what is there

    registry: Registry[int] = Registry("mixer", load=load)
    first = threading.Thread(target=registry.names)
    first.start()
    assert begun.wait(5)
    assert registry.names() == ["built_in"]
    first.join()
    assert found == ["built_in"]


def test_every_change_is_counted() -> None:
    registry: Registry[int] = Registry("mixer", load=lambda: registry.register("built_in", 1))
    counts = [registry.changes]
    for change in (
        lambda: registry.register("mine", 2),
        lambda: registry.replace("mine", 3),
        lambda: registry.arrange(["mine"]),
        lambda: registry.unregister("mine"),
    ):
        change()
        counts.append(registry.changes)
    assert counts == sorted(set(counts)), "each change makes another number"
    registry.unregister("mine")
    assert registry.get("built_in") == 1
    assert registry.changes == counts[-1]
