"""Every command line of the documents: what stands in their ```sh blocks."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^( *)```(?:sh|bash|shell)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
LOOP = re.compile(r"for (\w+) in ([^;]+); do (.+); done")
ASSIGNMENT = re.compile(r"[A-Z_]+=\S*")


class Line(NamedTuple):
    """One command: its words, without variables set before it and without the comment behind it."""

    page: str
    text: str
    words: tuple[str, ...]

    @property
    def stmbench(self) -> tuple[str, ...] | None:
        """The arguments of `stmbench`, also of one that torchrun starts; None for another program's line."""
        if self.words[0] == "stmbench":
            return self.words[1:]
        if self.words[0] == "torchrun" and "stmbench" in self.words:
            return tuple(word for word in self.words[self.words.index("stmbench") + 1 :] if word != "...")
        return None


def pages() -> list[Path]:
    """README.md, CONTRIBUTING.md, experiments/README.md and all below docs/."""
    above = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "experiments" / "README.md"]
    return [*above, *sorted((ROOT / "docs").rglob("*.md"))]


def lines(page: str, text: str) -> list[Line]:
    """The commands of a page's text, in order; of a loop its body with the first value."""
    found = []
    for block in BLOCK.finditer(text):
        for line in block[2].replace("\\\n", " ").splitlines():
            loop = LOOP.fullmatch(line.strip())
            command = loop[3].replace(f"${loop[1]}", loop[2].split()[0]) if loop else line
            words = shlex.split(command, comments=True)
            while words and ASSIGNMENT.fullmatch(words[0]):
                words.pop(0)
            if words:
                found.append(Line(page, " ".join(line.partition(" #")[0].split()), tuple(words)))
    return found


def documented() -> dict[str, list[Line]]:
    """Page -> its commands, of the pages that have some."""
    found = {
        (name := page.relative_to(ROOT).as_posix()): lines(name, page.read_text(encoding="utf-8")) for page in pages()
    }
    return {name: of_page for name, of_page in found.items() if of_page}
