"""A run that is killed anywhere, or interrupted, goes on; and leaves no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

from stmbench.tables import read
from tests.commands import run
from tests.experiments.files import HEAD, TINY, write
from tests.experiments.plugins import noted, sleeper

TIMES = ("training_time", "throughput", "latency")
PATIENCE_S = 120.0
# what the process does before it runs the command: it kills itself at the end of the unit that COUNT says
FATAL = """
import os, signal, sys
from stmbench.commands import app
from stmbench.tables import Store
write, count = Store.write, [0]
def fatal(self, *args, **kwargs):
    count[0] += 1
    if count[0] == COUNT:
        os.kill(os.getpid(), signal.SIGKILL)
    return write(self, *args, **kwargs)
Store.write = fatal
app(sys.argv[1:], prog_name="stmbench")
"""


def values(folder: Path) -> pd.DataFrame:
    frame = read(folder).drop(columns=["created_utc", "run_id"])
    frame = frame[~frame["metric"].isin(TIMES)]
    return frame.sort_values(list(frame.columns), ignore_index=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The rows of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    assert run.stmbench("run", str(write(folder, TINY)), "--workers", "1", "--out", str(folder / "s")).exit_code == 0
    return values(folder / "s")


@pytest.mark.parametrize("unit", [1, 4], ids=["after a training", "during an analysis"])
def test_killed_and_run_again_is_the_same(tmp_path: Path, whole: pd.DataFrame, unit: int) -> None:
    arguments = ["run", str(write(tmp_path, TINY)), "--workers", "1", "--out", str(tmp_path / "s")]
    command = [sys.executable, "-c", FATAL.replace("COUNT", str(unit)), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    parts = [path for path in (tmp_path / "s" / "parts").glob("*.parquet") if "." not in path.stem]  # no predictions
    assert len(parts) == unit - 1
    again = run.stmbench(*arguments)
    assert again.exit_code == 0, again.output
    pd.testing.assert_frame_equal(values(tmp_path / "s"), whole)
    assert not list((tmp_path / "s" / "parts").glob(".*"))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=lambda how: how.name)
def test_no_worker_outlives_the_command(tmp_path: Path, how: signal.Signals) -> None:
    sleeper(tmp_path)
    path = write(tmp_path, f"{HEAD}plugins: sleeper.py\nanalyses: [{{analysis: erf, num_images: 1}}]\n")
    # what a shell starts in the background, tests among it, ignores SIGINT, and so would this
    heeds = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heeds}; import sys; from stmbench.commands import app; app(sys.argv[1:], prog_name='stmbench')"
    arguments = ["run", str(path), "--allow-plugins", "--workers", "2", "--out", str(tmp_path / "s")]
    command = subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + PATIENCE_S
    while len(noted(tmp_path)) < 2 and command.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    workers = noted(tmp_path)
    assert len(workers) == 2
    os.kill(command.pid, how)
    _, said = command.communicate(timeout=PATIENCE_S)
    if how is signal.SIGINT:
        assert command.returncode == 130
        kept = f"interrupted; what is finished stays in {tmp_path / 's'}, and the same command resumes from there"
        assert said.splitlines()[-1] == kept
        assert "Traceback" not in said
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in workers if psutil.pid_exists(pid)], timeout=PATIENCE_S)
    assert not alive
