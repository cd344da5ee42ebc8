"""What one call of the command line remembers, and how it imports its code."""

from __future__ import annotations

import gc
import subprocess
import sys

from stmbench.commands import session

FRESH = """
import gc
from stmbench.commands import session
with session.importing():
    assert not gc.isenabled()
    import torch
assert gc.isenabled() and gc.get_freeze_count() > 100_000
"""


def test_model_code_is_imported_once_without_collecting_garbage() -> None:
    run = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_a_process_of_many_commands_keeps_no_garbage_for_ever() -> None:
    import torch  # noqa: F401

    before = gc.get_freeze_count()
    with session.importing():
        pass
    assert gc.isenabled()
    assert gc.get_freeze_count() == before


def test_garbage_that_was_not_collected_is_not_from_now_on() -> None:
    gc.disable()
    try:
        with session.importing():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
