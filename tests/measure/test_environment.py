from __future__ import annotations

import getpass
import json
import socket
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from stmbench.measure import environment


def test_facts_hold_no_user_host_or_folder() -> None:
    text = json.dumps([environment.machine_facts(), environment.software_facts()])
    assert str(Path.home()) not in text.replace('"/', "")
    assert f'"{getpass.getuser()}"' not in text
    assert f'"{socket.gethostname()}"' not in text


def test_the_machine_has_a_stable_short_name() -> None:
    facts = environment.machine_facts()
    assert environment.machine_id(facts) == environment.machine_id(dict(reversed(facts.items())))
    assert len(environment.machine_id(facts)) == 12
    assert environment.machine_id({**facts, "cores": -1}) != environment.machine_id(facts)


def test_machine_is_the_device_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    def visible(*names: str) -> None:
        """What CUDA_VISIBLE_DEVICES leaves, in its order."""
        gpus = [SimpleNamespace(name=name, total_memory=80 * 2**30, multi_processor_count=132) for name in names]
        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(gpus))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(gpus))
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: gpus[number].name)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: gpus[device.index or 0])

    def identifier(device: str) -> str:
        return environment.machine_id(environment.machine_facts(device))

    visible()
    alone = identifier("cpu")
    visible("H100", "L4")
    both = {device: identifier(device) for device in ("cpu", "cuda:0", "cuda:1")}
    assert both["cpu"] == alone, "a GPU that is not used does not make another machine"
    assert len(set(both.values())) == 3
    visible("L4")
    assert identifier("cuda") == both["cuda:1"]
    assert environment.machine_facts("cuda")["gpus"] == ["L4"]


def test_versions_are_those_installed() -> None:
    import torch

    facts = environment.software_facts()
    assert str(torch.__version__).startswith(str(facts["torch"]))
    assert environment.version_of("no-such-package-at-all") is None


def test_the_processor_is_named_from_cpuinfo() -> None:
    assert environment.cpu_model("processor : 0\nmodel name\t: Some CPU @ 3GHz\n") == "Some CPU @ 3GHz"
    assert environment.cpu_model("") != ""


def test_a_checkout_has_a_commit_and_may_be_dirty(tmp_path: Path) -> None:
    assert environment.git_state(tmp_path) == {"commit": None, "dirty": None}

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    git("init", "-q")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-q", "-m", "first")
    state = environment.git_state(tmp_path)
    assert state == {"commit": git("rev-parse", "HEAD").strip(), "dirty": False}
    (tmp_path / "file").write_text("two")
    assert environment.git_state(tmp_path)["dirty"] is True


def test_software_is_looked_up_once_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, version_of = list[str](), environment.version_of
    monkeypatch.setattr(environment, "version_of", lambda name: asked.append(name) or version_of(name))
    environment._software_facts.cache_clear()
    first = environment.software_facts()
    first["torch"] = "changed by a caller"
    assert environment.software_facts()["torch"] != first["torch"]
    assert asked == list(environment.PACKAGES)
