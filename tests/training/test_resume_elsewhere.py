"""A training whose store is at an address goes on, to the bit, on another machine than the one that was lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stmbench.analyses.base import Progress
from stmbench.checkpoints.trained import trained_checkpoints
from stmbench.tables import Store
from stmbench.tables.addresses import end_all
from stmbench.training.state import STATE
from tests.s3_server import Bucket
from tests.training.runs import IDENTITY, RANDOM, STEPS, folders, settings, training
from tests.training.test_resume import assert_same


def test_it_goes_on_where_the_other_machine_was(bucket: Bucket, machine: Callable[[str], Path], tmp_path: Path) -> None:
    run, steps = settings(folders(tmp_path / "pets"), recipe=RANDOM), list[int]()

    def lost(event: Progress) -> None:
        if round(event.done * STEPS * RANDOM.epochs) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training(machine("one"), run, listener=lost).run()
    end_all()  # what the thread sends every few seconds
    assert [name for name in bucket.names() if name.endswith(STATE)]

    def listen(event: Progress) -> None:
        steps.append(round(event.done * STEPS * RANDOM.epochs))

    two = machine("two")
    assert not list(two.rglob(STATE)), "a state comes when it is needed"
    training(two, run, listener=listen).run()
    assert next(step for step in steps if step) == 5, "the fourth step was saved and is not repeated"
    end_all()
    training(tmp_path / "whole", run).run()
    assert_same(two, tmp_path / "whole")

    three = machine("three")
    again = training(three, run).run()
    assert (again.made, len(again.reused)) == ([], 1), "its weights are there, if not here"
    (weights,) = trained_checkpoints(three, [IDENTITY]).values()
    assert weights.path.read_bytes() == (two / weights.path.relative_to(three)).read_bytes()


def test_fresh_forgets_what_is_there(bucket: Bucket, machine: Callable[[str], Path], tmp_path: Path) -> None:
    run, steps = settings(folders(tmp_path / "pets")), list[int]()
    training(machine("one"), run).run()
    end_all()

    def listen(event: Progress) -> None:
        steps.append(round(event.done * STEPS * run.recipe.epochs))

    two = machine("two")
    training(two, run, listener=listen, fresh=True).run(fresh=True)
    assert next(step for step in steps if step) == 1
    end_all()
    assert Store(two).keys()
    assert [name for name in bucket.names() if name.endswith(STATE)]
