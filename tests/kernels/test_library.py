"""Building the kernels' library: no compiler, a broken one, a cache that is damaged or cannot be written."""

from __future__ import annotations

import shutil
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from stmbench.kernels import library, setting
from stmbench.mixers.dcnv3 import Dcnv3, Dcnv3Config
from tests.kernels import needs_kernels


@pytest.fixture(autouse=True)
def _afresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty cache, and no library yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(library.VARIABLE, raising=False)
    library.load.cache_clear()
    yield
    monkeypatch.undo()
    library.load.cache_clear()


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A compiler that notes each library and puts the one there that was built before: seconds less."""
    monkeypatch.delenv("XDG_CACHE_HOME")
    built = library.kept_in() / f"kernels-{library.expected_version()}.so"
    if not built.exists():
        library.load()
        library.load.cache_clear()
    kept = shutil.copy(built, tmp_path / "kept.so")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    script = tmp_path / "compiler"
    note = f"case $* in *-shared*) echo called >> {tmp_path}/calls;; esac"
    script.write_text(f'#!/bin/sh\n{note}\nfor last; do :; done\ncp {kept} "$last"\n')
    script.chmod(script.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("CXX", str(script))
    return tmp_path / "calls"


def mixed() -> torch.Tensor:
    torch.manual_seed(0)
    with torch.no_grad():
        return Dcnv3(Dcnv3Config(dim=16, groups=1))(torch.randn(1, 4, 5, 16))


def test_without_a_compiler_the_plain_form_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert library.load().functions is None
    assert setting.facts() == {
        "setting": "auto",
        "none": "no C++ compiler was found (c++, g++, clang++ or the variable CXX)",
    }
    assert setting.identity() == "off"
    with setting.counted() as calls:
        without = mixed()
    assert not calls
    monkeypatch.setenv("STMBENCH_KERNELS", "off")
    assert torch.equal(without, mixed())


def test_a_compiler_that_fails_is_named_with_what_it_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "compiler"
    script.write_text("#!/bin/sh\necho 'warning: old' >&2\necho 'x.cpp:1: error: no <vector>' >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    assert library.load().reason == "the C++ compiler failed: x.cpp:1: error: no <vector>"
    assert not setting.are_ready()
    assert mixed().isfinite().all()


@needs_kernels
def test_the_library_is_built_once_and_kept(compiler: Path) -> None:
    with setting.counted() as calls:
        mixed()
    assert calls == {"deformable_conv": 1}
    assert [file.name for file in library.kept_in().iterdir()] == [f"kernels-{library.load().version}.so"]
    library.load.cache_clear()
    assert library.load().functions is not None
    assert compiler.read_text().split() == ["called"]


@needs_kernels
def test_a_damaged_library_is_built_again(compiler: Path) -> None:
    cached = library.kept_in() / f"kernels-{library.expected_version()}.so"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"half of a libr")
    assert library.load().functions is not None
    assert cached.stat().st_size > 10_000
    assert compiler.read_text().split() == ["called"]


@needs_kernels
def test_a_cache_that_cannot_be_written_costs_no_kernel(compiler: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with setting.counted() as calls:
        mixed()
    assert calls == {"deformable_conv": 1}


@needs_kernels
def test_processes_that_build_at_the_same_time_leave_one_whole_library(compiler: Path) -> None:
    found: list[library.Library] = []
    threads = [threading.Thread(target=lambda: found.append(library.load.__wrapped__())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(one.functions is not None for one in found)
    assert [file.suffix for file in library.kept_in().iterdir()] == [".so"]
    assert not [file for file in library.kept_in().iterdir() if file.name.startswith(".")]


def test_another_processor_has_a_library_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "true")
    versions = set()
    for vectors in ("AVX512", "AVX2", "DEFAULT"):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda vectors=vectors: vectors)
        versions.add(library.expected_version())
    assert len(versions) == 3
