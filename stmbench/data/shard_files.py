"""Which files are the shards of a set, in tar or Parquet: by path, pattern or folder, and by splits in their names."""

from __future__ import annotations

import glob
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from stmbench.data.image_files import is_junk
from stmbench.data.image_set import KNOWN_SPLITS, find_split, split_candidates
from stmbench.errors import InputError

MAX_SHARDS = 100_000  # shards of one pattern
WITHIN = "data"  # where the Hugging Face Hub has a data set's files
_PART = re.compile(r"-\d+-of-\d+$")  # val-00000-of-00001, as the Hub names files: one of a set, even alone
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")


def matching_shards(text: str, suffix: str) -> list[Path]:
    """The files that match a path or a pattern, including `{000..009}`; none for one of another suffix."""
    if not text.endswith(suffix):
        return []
    count = math.prod(_count(match) for match in _BRACES.finditer(text))
    if count > MAX_SHARDS:
        raise InputError(
            f"a pattern of at most {MAX_SHARDS:,} shards", f"{count:.3g} of them", "correct the range in braces"
        )
    paths = []
    for pattern in expanded_pattern(str(Path(text).expanduser())):
        paths += [pattern] if Path(pattern).is_file() else sorted(glob.glob(pattern))
    return [Path(path).resolve() for path in paths if Path(path).is_file()]


def shards_in_folder(path: Path, split: str, suffix: str) -> list[Path]:
    """The files in a folder, its split folder or its `data/`; if names contain splits, only those of the split."""
    for name in split_candidates(split):
        in_split_folder = _shards(path / name, suffix)
        if in_split_folder:
            return in_split_folder
    files = _shards(path, suffix) or _shards(path / WITHIN, suffix)
    split_of = {file: word for file in files for word in split_words(file) if word in KNOWN_SPLITS}
    if not split_of:
        return files
    split_name = find_split(split, set(split_of.values()), path.name)
    return [file for file in files if split_of.get(file) == split_name]


def name_and_split(files: Sequence[Path]) -> tuple[str, str]:
    """What a set of these files is called, after their folder or a single file, and its split."""
    splits = {word for file in files for word in split_words(file) if word in KNOWN_SPLITS}
    folder = files[0].parent
    if folder.name in KNOWN_SPLITS:
        return folder.parent.name, folder.name
    above = folder.parent.name if folder.name == WITHIN else folder.name
    is_whole = len(files) == 1 and not _PART.search(files[0].stem)
    return files[0].stem if is_whole else above, splits.pop() if len(splits) == 1 else "all"


def split_words(file: Path) -> list[str]:
    """The words of a file's name, which may name its split."""
    return re.split(r"[^a-z]+", file.stem.lower())


def _shards(folder: Path, suffix: str) -> list[Path]:
    return sorted(file for file in folder.glob(f"*{suffix}") if file.is_file() and not is_junk(file.name))


def _count(match: re.Match[str]) -> float:
    first, last = match.groups()
    return max(0, int(last) - int(first) + 1) if max(len(first), len(last)) <= 15 else math.inf


def expanded_pattern(text: str) -> Iterator[str]:
    """The patterns that `{000..009}` in a pattern stand for."""
    match = _BRACES.search(text)
    if match is None:
        yield text
        return
    first, last = match.groups()
    for number in range(int(first), int(last) + 1):
        yield from expanded_pattern(f"{text[: match.start()]}{number:0{len(first)}d}{text[match.end() :]}")
