"""A run that did everything leaves a receipt; whatever differs from it makes the next run do everything properly."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from stmbench.architectures import listing
from stmbench.commands import receipts
from stmbench.experiments import reading
from stmbench.measure import environment
from tests.commands import run
from tests.experiments.files import HEAD, RANDOM, write
from tests.experiments.plugins import plugin

FULL = "the full path was taken"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an experiment of a plug-in, which includes another file, and its store with a receipt."""
    folder = tmp_path_factory.mktemp("done")
    plugin(folder, name="receipted")
    (folder / "common.yaml").symlink_to(write(folder, RANDOM, "one.yaml"))
    text = "include: common.yaml\nplugins: [receipted.py]\nmodels: [unified_receipted_nano]\nseeds: [0]\n"
    result = run.stmbench(*_words(write(folder, text).parent))
    assert result.exit_code == 0, result.output
    assert (folder / "store" / receipts.NAME).is_file()
    return folder


@pytest.fixture
def kept(done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """`done`, put back afterwards as it was; whoever plans, raises."""

    def planned(*_: Any, **__: Any) -> Any:
        raise AssertionError(FULL)

    monkeypatch.setattr(reading, "plugins_of", planned)
    shutil.copytree(done, tmp_path / "copy", symlinks=True)
    yield done
    shutil.rmtree(done)
    shutil.copytree(tmp_path / "copy", done, symlinks=True)


def _words(folder: Path, *more: str) -> list[str]:
    file, store = str(folder / "e.yaml"), str(folder / "store")
    return ["run", file, "--workers", "1", "--allow-plugins", "--out", store, *more]


def _is_planned(folder: Path, *more: str) -> bool:
    """Whether the run looks into everything, rather than show what it showed before."""
    result = run.stmbench(*_words(folder, *more))
    assert result.exit_code == (2 if FULL in result.output else 0), result.output
    return FULL in result.output


def test_the_same_run_again_shows_the_same_and_plans_nothing(kept: Path) -> None:
    result = run.stmbench(*_words(kept))
    assert result.exit_code == 0, result.output
    assert "2 tasks done: 0 units of work measured, 2 taken from the store" in result.stderr
    assert f"report   {kept / 'store' / 'report.html'}" in result.stderr.replace("\n", "")
    assert "eval" in result.stdout
    plan = run.stmbench(*_words(kept, "--dry-run"))
    assert plan.exit_code == 0, plan.output
    assert "nothing to do" in plan.stdout
    (line,) = [line.split() for line in plan.stdout.splitlines() if line.startswith("eval ")]
    assert line[1:5] == ["1", "1", "1", "0"], "one task of one model, done, and none to do"


@pytest.mark.parametrize("more", [["--fresh"], ["--anyway"], ["--device", "cpu"], ["--baseline", "receipted"]], ids=str)
def test_another_call_is_planned(kept: Path, more: list[str]) -> None:
    assert _is_planned(kept, *more)
    assert not _is_planned(kept)


def _edited(name: str, old: str, new: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        text = (folder / name).read_text(encoding="utf-8")
        assert old in text
        (folder / name).write_text(text.replace(old, new), encoding="utf-8")

    return edit


def _relinked(folder: Path) -> None:
    """The included file is the same link, and what it leads to is as it was: it leads elsewhere."""
    other = write(folder, RANDOM.replace("title: T", "title: U"), "two.yaml")
    (folder / "common.yaml").unlink()
    (folder / "common.yaml").symlink_to(other)


def _damaged(folder: Path) -> None:
    """One bit of a part, whose size and time stay."""
    path = next((folder / "store" / "parts").glob("*.parquet"))
    facts, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def _removed(pattern: str) -> Callable[[Path], None]:
    def remove(folder: Path) -> None:
        next((folder / "store").glob(pattern)).unlink()

    return remove


def _added(folder: Path) -> None:
    shutil.copy(next((folder / "store" / "parts").glob("*.parquet")), folder / "store" / "parts" / "another.parquet")


def _spoiled(folder: Path) -> None:
    (folder / "store" / receipts.NAME).write_text('{"facts": {}, "files": 3}', encoding="utf-8")


CHANGES: dict[str, Callable[[Path], None]] = {
    "another seed": _edited("e.yaml", "seeds: [0]", "seeds: [1]"),
    "an included file": _edited("common.yaml", "title: T", "title: U"),
    "a link to another file": _relinked,
    "the plug-in": _edited("receipted.py", "return x", "return x + 0"),
    "a damaged part": _damaged,
    "a part less": _removed("parts/*.parquet"),
    "a part more": _added,
    "no report": _removed("report.html"),
    "no receipt": _removed(receipts.NAME),
    "a receipt of another form": _spoiled,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_files_is_planned(kept: Path, change: str) -> None:
    assert not _is_planned(kept), "the receipt is good before"
    CHANGES[change](kept)
    assert _is_planned(kept)
    assert _is_planned(kept, "--dry-run")


def test_other_code_packages_and_machines_are_planned(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not _is_planned(kept)
    with monkeypatch.context() as patch:
        patch.setattr(environment, "machine_id", lambda _: "another")
        assert _is_planned(kept)
    with monkeypatch.context() as patch:
        patch.setattr(environment, "may_have_gpu", lambda: True)
        assert _is_planned(kept)
    with monkeypatch.context() as patch:
        patch.setattr(listing, "none_installed", lambda: False)
        assert _is_planned(kept)
    with monkeypatch.context() as patch:
        patch.setenv("STMBENCH_KERNELS", "off")
        assert _is_planned(kept)
    with monkeypatch.context() as patch:
        patch.setenv("CXX", "another-compiler")
        assert _is_planned(kept)
    with monkeypatch.context() as patch:
        packages = [*receipts._distributions(), ("torch-9.9.dist-info", 0)]
        patch.setattr(receipts, "_distributions", lambda: iter(packages))
        assert _is_planned(kept)
    with monkeypatch.context() as patch:
        (kept / "code").mkdir()
        patch.setattr(receipts, "PACKAGE", kept / "code")
        assert _is_planned(kept)
    assert not _is_planned(kept), "all of it is as it was"


def test_an_updated_package_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    (tmp_path / "torch-2.0.dist-info").mkdir()
    (tmp_path / "torch").mkdir()
    before = list(receipts._distributions())
    assert [name for name, _ in before] == [str(tmp_path), "torch-2.0.dist-info"]
    (tmp_path / "torch-2.0.dist-info").rename(tmp_path / "torch-2.1.dist-info")
    assert list(receipts._distributions()) != before


def test_edits_are_seen_by_name_size_and_time(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    file = tmp_path / "below" / "a.py"
    file.write_text("one")
    before = dict(receipts._marks(tmp_path))
    assert list(before) == ["below/a.py"]
    os.utime(file, ns=(0, 1))
    assert dict(receipts._marks(tmp_path)) == {"below/a.py": [3, 1]} != before
    (tmp_path / "below" / "__pycache__").mkdir()
    (tmp_path / "below" / "__pycache__" / "a.pyc").write_text("")
    assert dict(receipts._marks(tmp_path)) == {"below/a.py": [3, 1]}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"{HEAD}analyses: [{{analysis: eval, dataset: SET, num_images: 4}}]\n", "images outside stmbench"),
        (f"{HEAD}data: {{set: digits}}\ndevice: cuda\nanalyses: [eval]\n", "nothing that can be done"),
    ],
)
def test_what_cannot_be_sure_leaves_no_receipt(text: str, why: str, tmp_path: Path) -> None:
    for label in ("1", "2"):
        (tmp_path / "set" / label).mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (32, 32), (90 * number, 0, 0)).save(tmp_path / "set" / label / f"{number}.png")
    file = write(tmp_path, text.replace("SET", str(tmp_path / "set")))
    run.stmbench("run", str(file), "--workers", "1", "--out", str(tmp_path / "store"))
    assert not (tmp_path / "store" / receipts.NAME).exists(), why
