"""Plain English: phrases that were replaced stay out of documents, help texts, messages, comments and templates."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import typer

from stmbench.commands import app
from tests.docs.documented import ROOT, pages

# what was written -> what an English-speaking engineer would write; a regular expression, whatever the case
BANNED: Final[dict[str, str]] = {
    r"go(es|ing)? on (where|from (there|its|a|the)|in the same)": "resumes where it left off",
    r"(same command|run|training) goes on\b": "resumes",
    r"bit by bit": "bit-identically",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"leaves? with \d": "exit with code 3",
    r"print the version and leave": "print the version and exit",
    r"to be wary of": "caveats",
    r"would find\b": "minimum detectable effect",
    r"\b(looks?|looked) at (it |each |them )?in (\w+ )?ways?": "evaluate each in eight ways",
    r"\bbeside (ours|theirs|the published)\b|\bstands? beside\b": "alongside",
    r"nobody can (tell|say)": "inconclusive",
    r"steps? and (its|their) suspects": "change points and suspect commits",
    r"what was not resolved|(is|are) said so|\band said so\b|\bnot resolved\b": "inconclusive; is flagged",
    r"\bthe weather\b": "noise",
    r"not itself\b": "disturbed",
    r"\bit flatters\b|would flatter\b": "optimistically biased",
    r"\b(do|does) not do\b(?! (that|so|this))": "is not enough",
    r"\b(can|could|cannot|to) be had\b": "available",
    r"who is drawn how": "colours and markers",
    r"whatever (it|he|they) likes?": "may raise anything",
    r"\(?again: the other way": "again to reverse",
    r"\b(training|recipe|data)( in \S+)? that makes sense|\} that makes sense": "a valid training configuration",
    r"can be given again|\bgiven again\b": "repeatable",
    r"words of the command line": "command-line values",
    r"\b(not|none of) its business": "not its responsibility",
    r"\bone a line\b|\ba line each\b": "one per line",
    r"had of\b": "available from",
    r"\bin words( of its own| what|\b(?=, (what|which)))|\bsays? in words": "explains",
    r"\bdearer\b": "more expensive",
    r"slip of the finger": "typing mistake",
    r"\bin small\b": "scaled down",
}
# where an old word is read from a store of today: file -> the phrase
STILL_READ: Final = {"stmbench/tables/migration.py": "not resolved"}
# the sentences that the list was made from
OLD: Final = (
    "goes on where it was",
    "goes on bit by bit",
    "mend that line",
    "Leave with 3 where a comparison is unsure",
    "Print the version and leave.",
    "What to be wary of",
    "would find",
    "looks at each in eight ways",
    "their definitions stand beside ours",
    "slower? faster? or nobody can tell",
    "with the steps and their suspects",
    "what was not resolved is said so",
    "may be the weather",
    "the machine was not itself",
    "it flatters",
    "rows without their weights do not do",
    "whether they can be had",
    "Who is drawn how",
    "Raises whatever it likes",
    "A click on a heading sorts (again: the other way)",
    "a training that makes sense",
    "Can be given again",
    "Words of the command line turned into values",
    "not its business",
    "one a line",
)


def banned_in(text: str) -> list[str]:
    """'phrase -> what to write' for each banned phrase of a text, wherever its lines break."""
    plain = " ".join(text.split())
    return [
        f"{hit[0]!r} -> {better}" for pattern, better in BANNED.items() for hit in re.finditer(pattern, plain, re.I)
    ]


def texts_of_python(source: str) -> str:
    """String literals, docstrings and comments; adjacent literals and the lines of a comment are joined."""
    literals = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
    comments = " ".join(re.findall(r"#:?(?= )(.*)", source))
    return "\n\N{BULLET} ".join([text for text in literals if isinstance(text, str)] + [comments])


def _files() -> Iterator[Path]:
    yield from pages()
    for folder, endings in (("experiments", "yaml"), ("examples", "py"), ("stmbench", "py j2 js css typ")):
        for ending in endings.split():
            yield from sorted((ROOT / folder).rglob(f"*.{ending}"))


def test_documents_messages_and_templates_hold_no_banned_phrase() -> None:
    hits = []
    for file in _files():
        name, text = file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8")
        if file.suffix == ".py":
            text = texts_of_python(text)
        hits += [f"{name}: {hit}" for hit in banned_in(text.replace(STILL_READ.get(name, "\0"), ""))]
    assert not hits, "\n".join(hits)


def _help(command: Any) -> Iterator[str]:
    for parameter in command.params:
        yield getattr(parameter, "help", None) or ""
    yield from (command.help or "", command.epilog or "")
    for name in command.list_commands(None) if hasattr(command, "list_commands") else ():
        yield from _help(command.get_command(None, name))


def test_help_texts_hold_no_banned_phrase() -> None:
    texts = list(_help(typer.main.get_command(app)))
    assert len(texts) > 100
    hits = [hit for text in texts for hit in banned_in(text)]
    assert not hits, "\n".join(hits)


@pytest.mark.parametrize("sentence", OLD)
def test_banned_phrases_are_found(sentence: str) -> None:
    assert banned_in(f"It {sentence},\nand more") != []


def test_phrases_across_line_breaks_are_found() -> None:
    source = '"""It goes on\nwhere it was."""\nX = "may be " "the weather"  # mend\nY = f"{X} is said so"\n'
    assert len(banned_in(texts_of_python(source))) == 4
    assert banned_in("It resumes where it left off; fix that line.") == []
