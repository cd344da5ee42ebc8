"""ci/compare.sh around a stmbench that only takes notes: which commits and options, what is kept and refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.ci.repositories import commit, compare, git

# notes each call, an argument in <>, and what the two sides hold; leaves what the real one would
FAKE = r"""#!/bin/sh
log="$(dirname "$0")/log"
{ for word; do printf '<%s>' "$word"; done; echo; } >> "$log"
case "$1" in
    compare)
        cat "$(dirname "$0")/says"; cat base/mixer.py head/mixer.py >> "$log"; exit "$(cat "$(dirname "$0")/leaves")" ;;
    profile)
        while [ "$1" != --out ]; do shift; done; mkdir -p "$2"; cat mixer.py > "$2/part" ;;
    history)
        [ "$2" = add ] || exit 0
        store=$3; while [ "$1" != --commit ]; do if [ "$1" = --history ]; then folder=$2; fi; shift; done
        mkdir -p "$folder"; cp "$store/part" "$folder/$2" ;;
    dashboard) mkdir -p "$4"; ls "$2" > "$4/index.html" ;;
esac
"""

pytestmark = pytest.mark.skipif(
    shutil.which("git") is None or shutil.which("bash") is None, reason="git or bash is not installed"
)


class Fake:
    """A stmbench that takes notes."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.path = folder / "stmbench"
        self.path.write_text(FAKE)
        self.path.chmod(0o755)
        self.answer("### one worse\n", 0)

    def answer(self, says: str, leaves: int) -> None:
        (self.path.parent / "says").write_text(says)
        (self.path.parent / "leaves").write_text(str(leaves))

    def calls(self) -> str:
        return (self.path.parent / "log").read_text()


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return Fake(tmp_path / "bin")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    commit(tmp_path / "theirs", {"other.py": "none\n"}, "before the mixer")
    commit(tmp_path / "theirs", {"mixer.py": "old\n"}, "a mixer")
    commit(tmp_path / "theirs", {"mixer.py": "new\n"}, "a slower mixer")
    return tmp_path / "theirs"


def _settings(fake: Fake, **more: str) -> dict[str, str]:
    return {"STMBENCH": str(fake.path), "PLUGIN": "mixer.py", "MIXERS": "mine", **more}


def test_head_is_compared_with_its_parent(fake: Fake, repository: Path, tmp_path: Path) -> None:
    done = compare(repository, **_settings(fake, SUMMARY=str(tmp_path / "summary"), MARGIN="0.05", RESOLUTION="32"))
    assert (done.returncode, done.stdout) == (0, "### one worse\n"), done.stderr
    assert fake.calls().splitlines() == [
        "<compare><--live><base><head><--format><markdown><--scale><micro><--mixers><mine><--resolution><32>"
        "<--batch-size><4><--time-budget><60><--margin><0.05><--plugin><mixer.py><--confirm>",
        "old",
        "new",
    ]
    assert (repository / "stmbench-ci" / "compare.md").read_text() == (tmp_path / "summary").read_text() == done.stdout
    assert git(repository, "worktree", "list").count("\n") == 0, "work trees were left behind"
    assert git(repository, "branch", "--format=%(refname:short)") == "main"


@pytest.mark.parametrize(
    ("says", "leaves", "code"),
    [("worse", 1, 1), ("open", 3, 3), ("", 2, 2), ("", 1, 2), ("", 127, 2)],
    ids=["regression", "not-resolved", "bad-input", "traceback", "not-there"],
)
def test_exit_codes(fake: Fake, repository: Path, says: str, leaves: int, code: int) -> None:
    fake.answer(says, leaves)
    assert compare(repository, **_settings(fake, STRICT="1")).returncode == code
    assert "<--strict>" in fake.calls()


def test_words_are_words_and_not_shell(fake: Fake, repository: Path) -> None:
    options = _settings(fake, MIXERS="$(touch bad)", MODELS="a b;*", COMPARE_OPTIONS="--seed 3  *")
    assert compare(repository, **options).returncode == 0
    assert "<--models><a b;*><--mixers><$(touch bad)>" in fake.calls()
    assert fake.calls().splitlines()[0].endswith("<--seed><3><*>")
    assert not (repository / "bad").exists()


def test_a_base_by_name_from_a_shallow_clone(fake: Fake, repository: Path, tmp_path: Path) -> None:
    base = git(repository, "rev-parse", "HEAD^")
    git(tmp_path, "clone", "--quiet", "--depth=1", repository.as_uri(), "shallow")
    done = compare(tmp_path / "shallow", **_settings(fake, BASE=base))
    assert (done.returncode, fake.calls().splitlines()[1:]) == (0, ["old", "new"]), done.stderr


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"HEAD": "HEAD^"}, "mixer.py is new"),
        ({"HEAD": "HEAD^^", "PLUGIN": "other.py"}, "there is no commit before it"),
    ],
    ids=["a-new-file", "a-first-commit"],
)
def test_nothing_to_compare_with(fake: Fake, repository: Path, settings: dict[str, str], why: str) -> None:
    done = compare(repository, **{**_settings(fake), **settings})
    assert done.returncode == 0
    assert f"nothing to compare {git(repository, 'rev-parse', settings['HEAD'])[:12]} with\n\n{why}." in done.stdout


@pytest.mark.parametrize("base", ["0" * 40, "1234567890" * 4], ids=["none", "gone"])
def test_a_base_that_a_push_does_not_have(fake: Fake, repository: Path, base: str) -> None:
    done = compare(repository, **_settings(fake, BASE=base))
    assert (done.returncode, fake.calls().splitlines()[1:]) == (0, ["old", "new"])
    assert ("is gone" in done.stderr) is base.startswith("1")


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"BASE": "nowhere"}, "expected BASE to be a commit, got 'nowhere'"),
        ({"HEAD": "nowhere"}, "expected HEAD to be a commit, got 'nowhere'"),
        ({"PLUGIN": "mixr.py"}, "got 'mixr.py'; check the path"),
    ],
    ids=["base", "head", "plug-in"],
)
def test_bad_input(fake: Fake, repository: Path, settings: dict[str, str], line: str) -> None:
    done = compare(repository, **{**_settings(fake), **settings})
    assert (done.returncode, done.stdout) == (2, "")
    assert line in done.stderr


def test_a_history_that_another_job_pushes_to_as_well(fake: Fake, repository: Path, tmp_path: Path) -> None:
    fake.answer("worse", 1)
    shas = git(repository, "rev-list", "--reverse", "HEAD", "--", "mixer.py").split()
    git(tmp_path, "clone", "--quiet", "--bare", str(repository), "remote.git")
    for number in range(len(shas)):  # two machines' clones, of which neither knows the other's record
        git(tmp_path, "clone", "--quiet", str(tmp_path / "remote.git"), f"clone{number}")
    for number, sha in enumerate(shas):
        done = compare(tmp_path / f"clone{number}", **_settings(fake, HEAD=sha, RECORD="1", PUSH="1"))
        assert done.returncode == number, done.stderr  # the first has nothing to be compared with
    files = git(tmp_path / "remote.git", "ls-tree", "-r", "--name-only", "stmbench-history").split()
    assert sorted(files) == sorted(f"history/{sha}" for sha in shas)
    assert git(tmp_path / "remote.git", "rev-list", "--count", "stmbench-history") == "3"
    assert git(tmp_path / "remote.git", "show", f"stmbench-history:history/{shas[0]}") == "old"
    assert (tmp_path / "clone1" / "stmbench-ci" / "dashboard" / "index.html").read_text().split() == sorted(shas)
    assert git(tmp_path / "clone1", "status", "--short") == "?? stmbench-ci/"
    assert git(tmp_path / "clone1", "branch", "--format=%(refname:short)") == "main"


BAD = {
    "an option as base": ({"BASE": "--upload-pack=touch bad;"}, "expected BASE to be a name, got '--upload-pack"),
    "an option as head": ({"HEAD": "--help"}, "expected HEAD to be a name"),
    "an option as remote": ({"REMOTE": "--upload-pack=touch bad;", "BASE": "gone"}, "expected REMOTE to be a name"),
    "a command as remote": ({"REMOTE": "ext::touch% bad", "BASE": "gone"}, "expected REMOTE to be a "),
    "a refspec": ({"BASE": "main:refs/heads/other"}, "expected BASE to be a commit"),
    "a forced one": ({"BASE": "+main"}, "expected BASE to be a name"),
    "an option as history": ({"HISTORY_BRANCH": "--upload-pack=touch bad;"}, "expected HISTORY_BRANCH to be a name"),
    "no branch": ({"HISTORY_BRANCH": "a..b"}, "expected HISTORY_BRANCH to be a branch's name, got 'a..b'"),
    "the branch that is checked out": ({"HISTORY_BRANCH": "main"}, "expected HISTORY_BRANCH to be a branch of its own"),
    "the base": ({"HISTORY_BRANCH": "old", "BASE": "old"}, "expected HISTORY_BRANCH to be a branch of its own"),
    "the remote's default": ({"HISTORY_BRANCH": "trunk"}, "expected HISTORY_BRANCH to be a branch of its own"),
    "a branch with the code": ({"HISTORY_BRANCH": "older"}, "got 'older, which holds the code'"),
    "no number": ({"KEEP": "many"}, "expected KEEP to be a number from 1, got 'many'"),
    "a sum": ({"KEEP": "a[$(touch bad)]"}, "expected KEEP to be a number from 1"),
    "none": ({"KEEP": "0"}, "expected KEEP to be a number from 1, got '0'"),
}


@pytest.mark.parametrize(("settings", "line"), BAD.values(), ids=BAD.keys())
def test_settings_that_are_refused(
    fake: Fake, repository: Path, tmp_path: Path, settings: dict[str, str], line: str
) -> None:
    git(tmp_path, "clone", "--quiet", "--bare", repository.as_uri(), "origin")
    git(tmp_path / "origin", "branch", "-m", "main", "trunk")
    git(repository, "remote", "add", "origin", (tmp_path / "origin").as_uri())
    for name, place in (("old", "HEAD^"), ("older", "HEAD^^")):
        git(repository, "branch", name, place)
    before = git(repository, "for-each-ref")
    done = compare(repository, **_settings(fake, RECORD="1", PUSH="", **settings))
    assert done.returncode == 2, done.stderr
    assert line in done.stderr
    assert done.stderr.count("expected ") == 1
    assert git(repository, "for-each-ref") == before
    assert not list(tmp_path.rglob("bad"))


def test_models_that_fail_are_recorded_too(fake: Fake, repository: Path) -> None:
    fake.path.write_text(FAKE.replace('> "$2/part" ;;', '> "$2/part"; exit 1 ;;'))
    assert compare(repository, **_settings(fake, RECORD="1")).returncode == 0
    assert "<history><add>" in fake.calls()
    fake.path.write_text(FAKE.replace('> "$2/part" ;;', '> "$2/part"; exit 2 ;;'))
    assert compare(repository, **_settings(fake, RECORD="1")).returncode == 2
