"""Real worker processes, on checkouts whose code is made up."""

from __future__ import annotations

import ast
import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from stmbench.comparison import worker as live_worker
from stmbench.comparison import worker_process
from stmbench.comparison.worker_process import WorkerError, WorkerProcess, code_version
from stmbench.errors import InputError
from tests.comparison.checkouts import STMBENCH, checkout, lazy_checkout

HELLO = {"threads": 1, "plugins": [], "slowdown": 0.0}
LOAD = {"seed": 0, "device": "cpu", "dtype": "fp32", "batch": 2, "resolution": None}


@contextlib.contextmanager
def worker(folder: Path) -> Iterator[WorkerProcess]:
    """A worker of a checkout, killed at the end."""
    started = WorkerProcess(code_version(str(folder)))
    try:
        yield started
    finally:
        started.close()


def load(started: WorkerProcess, model: str) -> dict[str, Any]:
    return started.ask("load", model=model, **LOAD)


def test_a_worker_runs_the_code_of_its_checkout_whatever_it_prints(tmp_path: Path) -> None:
    with worker(checkout(tmp_path)) as started:
        hello = started.ask("hello", **HELLO)
        assert hello["package"] == str(tmp_path / "stmbench")
        assert hello["software"]["stmbench"] == "9.9"
        assert hello["threads"] == 1
        assert load(started, "any") == {"params": 0, "resolution": [48, 64]}
        answer = started.ask("run", passes=2, core=None)
        assert set(answer) == {"probe", "passes"}
        assert all(seconds >= 0 for seconds in (*answer["probe"], *answer["passes"]))
    assert not (tmp_path / "stmbench" / "__pycache__").exists()


def test_an_older_layout_works_as_long_as_it_creates_models(tmp_path: Path) -> None:
    with worker(lazy_checkout(tmp_path)) as started:
        hello = started.ask("hello", **HELLO)
        assert (hello["package"], hello["software"]["stmbench"]) == (str(tmp_path / "stmbench"), "0.1.0")
        assert load(started, "any")["resolution"] == [48, 64]
        assert started.ask("run", passes=1, core=None)["passes"][0] > 0


def test_a_planted_slowdown_burns_processor_time(tmp_path: Path) -> None:
    with worker(checkout(tmp_path)) as started:
        started.ask("hello", **{**HELLO, "slowdown": 50.0})
        load(started, "any")
        slow = started.ask("run", passes=20, core=None)["passes"][1]
        started.ask("hello", **HELLO)
        assert slow > 10 * started.ask("run", passes=20, core=None)["passes"][1]


def test_a_refusal_is_a_line_and_the_worker_goes_on(tmp_path: Path) -> None:
    with worker(checkout(tmp_path)) as started:
        started.ask("hello", **HELLO)
        with pytest.raises(WorkerError, match="ValueError: a reason in two lines") as error:
            load(started, "refuses")
        assert not error.value.died
        assert load(started, "any")["params"] == 0


@pytest.mark.parametrize(
    ("model", "line"),
    [("dies", "the worker exited with code 7: last words"), ("aborts", "the worker was killed by signal 6")],
)
def test_a_death_says_how(tmp_path: Path, model: str, line: str) -> None:
    with worker(checkout(tmp_path)) as started:
        started.ask("hello", **HELLO)
        with pytest.raises(WorkerError) as error:
            load(started, model)
        assert str(error.value).startswith(line)
        assert error.value.died
        with pytest.raises(WorkerError):  # and again, rather than waiting for ever
            started.ask("hello", **HELLO)


def test_one_that_hangs_is_given_up_and_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "ANSWER_SECONDS", 0.3)
    with worker(checkout(tmp_path)) as started, pytest.raises(WorkerError, match="no answer to 'load'") as error:
        load(started, "hangs")
    assert error.value.died
    assert started._process.returncode == -9


def test_every_model_is_built_in_a_process_of_its_own(tmp_path: Path) -> None:
    source = STMBENCH.replace("    return MODELS", "    return Pid() if name == 'pid' else MODELS")
    source += (
        "\n\nclass Pid(torch.FakeModel):\n    default_cfg = property(lambda _: {'input_size': (3, os.getpid(), 1)})\n"
    )
    with worker(checkout(tmp_path, source=source)) as started:
        pids = []
        for _ in range(3):
            started.ask("unload")
            pids.append(load(started, "pid")["resolution"][0])
            assert started.ask("run", passes=1, core=None)["passes"][0] > 0
        assert len({*pids, started._process.pid}) == 4
        last = pids[-1]
        os.kill(last, 0)
    for _ in range(500):  # it is not ours to wait for
        if not Path(f"/proc/{last}").exists():
            break
        time.sleep(0.01)
    with pytest.raises(ProcessLookupError):
        os.kill(last, 0)


def test_a_worker_ends_when_its_input_is_closed(tmp_path: Path) -> None:
    with worker(checkout(tmp_path)) as started:
        started.ask("hello", **HELLO)
        assert started._process.stdin is not None
        started._process.stdin.close()
        assert started._process.wait(timeout=20) == 0


def test_a_worker_is_out_of_reach_of_the_terminal_and_leaves_no_files(tmp_path: Path) -> None:
    with worker(checkout(tmp_path)) as started:
        folder = Path(started._folder.name)
        assert (folder / "worker.py").is_file()
        assert os.getsid(started._process.pid) != os.getsid(0)
    assert not folder.exists()


MINE = (
    "import stmbench\nimport torch\nIMPORT\n\n\nclass Mine(torch.FakeModel):\n"
    "    default_cfg = {'input_size': (3, SIDE, SIDE)}\n\n\nstmbench.MODELS['mine'] = Mine\n"
)


@pytest.mark.parametrize(
    ("plugin", "files"),
    [
        ("mine.py", {"mine.py": MINE.replace("IMPORT", "SIDE = 7")}),
        ("mine.py", {"mine.py": MINE.replace("IMPORT", "from beside import SIDE"), "beside.py": "SIDE = 7\n"}),
        ("own", {"own/__init__.py": MINE.replace("IMPORT", "from .beside import SIDE"), "own/beside.py": "SIDE = 7\n"}),
        ("own", {"own/a_mine.py": MINE.replace("IMPORT", "from beside import SIDE"), "own/beside.py": "SIDE = 7\n"}),
    ],
    ids=["file", "two files", "package", "folder"],
)
def test_plugins_are_brought_in(tmp_path: Path, plugin: str, files: dict[str, str]) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with worker(checkout(tmp_path)) as started:
        started.ask("hello", **{**HELLO, "plugins": [str(tmp_path / plugin)]})
        assert load(started, "mine")["resolution"] == [7, 7]


def test_code_that_does_not_import_is_said(tmp_path: Path) -> None:
    line = "ModuleNotFoundError: No module named 'nowhere'"
    with worker(checkout(tmp_path, source="import nowhere")) as started, pytest.raises(WorkerError, match=line):
        started.ask("hello", **HELLO)


def test_a_side_whose_code_is_not_what_runs_is_refused(tmp_path: Path) -> None:
    chosen = code_version(str(checkout(tmp_path / "one")))
    hello = {"package": str(checkout(tmp_path / "other") / "stmbench"), "software": {}}
    with pytest.raises(InputError, match=r"expected the stmbench of .* to be imported"):
        chosen.described(hello, "a machine")


def test_the_worker_asks_stmbench_for_a_model_alone() -> None:
    tree = ast.parse(worker_process.WORKER.read_text())
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    used = {node.attr for node in attributes if isinstance(node.value, ast.Name) and node.value.id == "stmbench"}
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert used == {"create_model", "__file__"}
    assert imported == {"__future__", "collections.abc", "typing"}


@pytest.mark.parametrize("dtype", ["fp32", "tf32"])
def test_the_device_that_works_is_waited_for(tmp_path: Path, dtype: str) -> None:
    source = STMBENCH.replace(
        "    return MODELS",
        "    cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul\n"
        "    flags = cudnn.allow_tf32 + 2 * products.allow_tf32 + 4 * cudnn.benchmark\n"
        "    torch.FakeModel.parameters = lambda _: [Flags(flags)]\n"
        "    return MODELS",
    )
    source += "\n\nclass Flags(int):\n    numel = lambda self: int(self)\n"
    with worker(checkout(tmp_path, source=source)) as started:
        started.ask("hello", **HELLO)
        answer = started.ask("load", model="any", **{**LOAD, "device": "cuda:1", "dtype": dtype})
        assert answer["params"] == (7 if dtype == "tf32" else 4), "cuDNN's trials, and TF32 on both sides alike"
        assert len(started.ask("run", passes=1, core=None)["passes"]) == 2


def test_the_probe_does_not_multiply_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_worker, "PROBE_SIDE", {"cpu": 8})
    monkeypatch.setattr(live_worker, "PROBE_BYTES", {"cpu": 64})
    products: list[torch.Tensor] = []
    monkeypatch.setattr(torch, "mm", lambda a, b, out: products.extend((a, b)))
    live_worker.make_probe(torch.device("cpu"), torch.float32)()
    a, b = products
    assert a.unique().numel() == b.unique().numel() == 64
    assert not torch.equal(a, b)
