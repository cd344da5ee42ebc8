"""docs/ci.md's example as it runs on anybody's machine: a mixer of somebody's repository that becomes slower."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ci.repositories import ROOT, commit, compare, git

SIGNATURE = "    def forward(self, x: Tensor) -> Tensor:\n"
SLOWER = SIGNATURE + "        for _ in range(4):\n            self.once(x)\n        return self.once(x)\n\n"
SLOWER += "    def once(self, x: Tensor) -> Tensor:\n"

pytestmark = pytest.mark.skipif(
    shutil.which("git") is None or shutil.which("bash") is None, reason="git or bash is not installed"
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("theirs")
    mixer = (ROOT / "examples" / "my_mixer.py").read_text()
    assert SIGNATURE in mixer
    commit(folder, {"mixers/my_mixer.py": mixer}, "A mixer")
    commit(folder, {"mixers/my_mixer.py": mixer.replace(SIGNATURE, SLOWER)}, "Do the work five times")
    return folder


@pytest.fixture(scope="module")
def done(repository: Path) -> subprocess.CompletedProcess[str]:
    """The script with tiny settings. Sampling stops as soon as the verdict is clear, which a loaded machine delays."""
    return compare(
        repository,
        STMBENCH=f"{sys.executable} -m stmbench",
        PYTHONPATH=os.pathsep.join([str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]),
        OMP_NUM_THREADS="1",
        PLUGIN="mixers/my_mixer.py",
        MIXERS="strip_modulation",
        SCALE="nano",
        RESOLUTION="32",
        BATCH_SIZE="2",
        SECONDS_PER_MODEL="120",
        COMPARE_OPTIONS="--device cpu",
        RECORD="1",
        PROFILE_OPTIONS="--device cpu --no-timing",
        COMMIT_URL="https://example.org/commit/{commit}",
    )


def test_the_regression_is_said_and_is_the_exit_code(done: subprocess.CompletedProcess[str], repository: Path) -> None:
    assert done.returncode == 1, done.stderr
    markdown = (repository / "stmbench-ci" / "compare.md").read_text()
    assert markdown == done.stdout
    assert markdown.startswith("### stmbench compare: 1 worse")
    assert "| unified_strip_modulation_nano | time per image |" in markdown
    assert "changed: code (plug-in my_mixer.py)" in markdown
    for name in ("HEAD", "HEAD^"):
        assert git(repository, "rev-parse", name)[:12] in markdown


def test_the_history_has_a_record_of_head(done: subprocess.CompletedProcess[str], repository: Path) -> None:
    files = git(repository, "ls-tree", "-r", "--name-only", "stmbench-history").split()
    record = next(name for name in files if name.endswith("record.json"))
    text = git(repository, "show", f"stmbench-history:{record}")
    assert git(repository, "rev-parse", "HEAD") in text
    assert "Do the work five times" in text
    assert any(name.endswith(".parquet") for name in files)
    assert "strip_modulation" in git(repository, "show", f"stmbench-history:{record.replace('record', 'summary')}")


def test_the_dashboard_shows_it(done: subprocess.CompletedProcess[str], repository: Path) -> None:
    site = repository / "stmbench-ci" / "dashboard"
    page = (site / "index.html").read_text()
    assert "unified_strip_modulation_nano" in page
    assert "https://example.org/commit/" in page
    assert (site / "feed.xml").read_text().startswith("<?xml")
