"""A report's tables for a paper: LaTeX with booktabs, to be copied or taken in with its input command."""

from __future__ import annotations

import re
from typing import Final

from stmbench.errors import printable
from stmbench.reporting.content import Cell, Report, Table

# brackets and stars are bare in text, but after the end of a row they would be taken as its option
_ESCAPES: Final = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "–": "--",
    "°": r"\textdegree{}",
    "×": r"\texttimes{}",
    "·": r"\textperiodcentered{}",
}
_SPECIAL: Final = re.compile("|".join(map(re.escape, _ESCAPES)))


def latex(report: Report) -> str:
    """Every table as a `table` environment, with a caption and a label `tab:<name>`."""
    needs = r"\usepackage{booktabs,textcomp}"
    head = f"% {_plain(report.title)}\n% Written by stmbench {report.version}. Needs: {needs}\n"
    return "\n".join([head, *(_table(table) for table in report.tables)])


def escaped(text: str) -> str:
    """The text as LaTeX that prints it: no command, no comment, no end of a cell."""
    return _SPECIAL.sub(lambda match: _ESCAPES[match[0]], _plain(text))


def _plain(text: str) -> str:
    """On one line, control characters escaped."""
    return "".join(letter if letter.isprintable() else " " for letter in printable(text))


def _table(whole: Table) -> str:
    table = whole.on_paper
    layout = "".join("r" if column.is_number else "l" for column in table.columns)
    heads = " & ".join(_head(column.heading, column.unit) for column in table.columns)
    rows = [" & ".join(_cell(cell) for cell in line.cells) + r" \\" for line in table.lines]
    label = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in table.name)
    note = [rf"\par\smallskip{{\footnotesize {escaped(table.note)}}}"] if table.note else []
    return "\n".join(
        [
            r"\begin{table}[htbp]",
            r"\centering",
            rf"\caption{{{escaped(table.title)}}}",
            rf"\label{{tab:{label}}}",
            rf"\begin{{tabular}}{{@{{}}{layout}@{{}}}}",
            r"\toprule",
            rf"{heads} \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            *note,
            r"\end{table}",
            "",
        ]
    )


def _head(heading: str, unit: str) -> str:
    return f"{escaped(heading)} ({escaped(unit)})" if unit else escaped(heading)


def _cell(cell: Cell) -> str:
    return rf"{escaped(cell.text)} {{\scriptsize ({escaped(cell.below)})}}" if cell.below else escaped(cell.text)
