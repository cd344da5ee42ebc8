"""Tables for a paper: nothing that a user named is a command."""

from __future__ import annotations

import functools
import re

import pytest

from stmbench.reporting import build_report
from stmbench.reporting.formats.latex import escaped, latex
from tests.reporting.evil import NAMES, evil_report
from tests.tables.frames import profile_frame

OURS = {
    *("begin", "end", "centering", "caption", "label", "toprule", "midrule", "bottomrule", "scriptsize"),
    *("footnotesize", "par", "smallskip", "textbackslash", "textasciitilde", "textasciicircum", "textless"),
    *("textgreater", "textbar", "textquotedbl", "textasciigrave", "textdegree", "texttimes", "textperiodcentered"),
}


@functools.cache
def _plain() -> str:
    return latex(evil_report("plain"))


@pytest.mark.parametrize("name", NAMES)
def test_names_cannot_inject_latex(name: str) -> None:
    plain, hostile = _plain(), latex(evil_report(name))
    head, body = "\n".join(hostile.splitlines()[:2]), "\n".join(hostile.splitlines()[2:])
    assert all(line.startswith("% ") for line in head.splitlines())
    assert set(re.findall(r"\\([a-zA-Z]+)", body)) <= OURS
    for mark in (r"\\begin\{", r"\\end\{", r"(?<!\\)&", r"\\\\$", r"(?<!\\)%", r"(?<!\\)\$", r"(?<!\\)#"):
        expected = len(re.findall(mark, "\n".join(plain.splitlines()[2:]), re.MULTILINE))
        assert len(re.findall(mark, body, re.MULTILINE)) == expected, mark
    bare = re.sub(r"\\[{}]", "", body)
    assert bare.count("{") == bare.count("}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50 % & $x_1^2$ #~", r"50 \% \& \$x\_1\textasciicircum{}2\$ \#\textasciitilde{}"),
        (r"\input{x}", r"\textbackslash{}input\{x\}"),
        ("[1]*", "{[}1{]}{*}"),  # after the end of a row they would be its option
        ("a\nb\tc", "a b c"),
    ],
)
def test_special_characters_are_escaped(text: str, expected: str) -> None:
    assert escaped(text) == expected


def test_table_is_complete() -> None:
    text = latex(build_report(profile_frame()))
    assert text.count(r"\begin{tabular}{@{}lrrl@{}}") == 1
    assert r"\caption{Throughput relative to Halo-Attn}" in text
    assert r"DW-Conv & 2.148 & 2.115 to 2.182 & faster \\" in text
    assert r"131.0 {\scriptsize (129.0 to 132.8)}" in text
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == text.count(r"\label{tab:") == 7
