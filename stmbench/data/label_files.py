"""Reads labels from files: ImageNet's lists, and tables of names and labels. Errors name the file and the line."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from stmbench.errors import InputError

MAX_LABEL = 999_999  # today's largest data sets have some 200,000 classes


def parse_label(text: str, where: str) -> int:
    """A label from 0 to MAX_LABEL. For anything else raises InputError with `where` (file and line)."""
    if not re.fullmatch(r"\+?[0-9]{1,12}", text.strip()) or int(text) > MAX_LABEL:
        shown = text.strip()
        shown = repr(shown[:40] + "..." if len(shown) > 40 else shown)
        remedy = "write the number of the class, from 0"
        raise InputError(f"a label from 0 to {MAX_LABEL}", f"{shown} in {where}", remedy)
    return int(text)


def read_text(file: Path, what: str) -> str:
    """The content of a UTF-8 text file. Raises InputError with the first line that is not UTF-8."""
    try:
        if not file.is_file():
            raise InputError(what, f"no file at {file.name}", "correct the path")
        content = file.read_bytes()
    except OSError as error:
        raise InputError(what, f"{file.name} ({error.strerror or error})", "correct its permissions") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        remedy = "save the file as UTF-8"
        raise InputError("text in UTF-8", f"other bytes in line {line} of {file.name}", remedy) from error


def read_list(file: Path) -> tuple[list[str], list[int]]:
    """Paths and labels from one of ImageNet's lists, with lines `file label`.

    Raises:
        InputError: an invalid line, with its number.
    """
    paths, labels = [], []
    for number, line in enumerate(read_text(file, "a list of images and labels").split("\n"), start=1):
        if not line.strip():
            continue
        path, _, label = line.strip().rpartition(" ")
        if not path:
            got = f"{line.strip()[:80]!r} in line {number}"
            raise InputError(f"a file and a label in every line of {file.name}", got, "write: name.JPEG 65")
        paths.append(path.strip())
        labels.append(parse_label(label, f"line {number} of {file.name}"))
    return paths, labels


def read_table(file: Path, what: str) -> list[tuple[int, str, str]]:
    """(line, first column, second column) of a CSV file; a header line such as `image,label` is skipped.

    Columns are separated by commas, semicolons or tabs. Columns beyond the second are ignored.

    Raises:
        InputError: no lines, or a line with a missing or empty column.
    """
    text = read_text(file, what)
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    table = []
    try:
        rows = list(csv.reader(text.splitlines(), delimiter=separator))
    except csv.Error as error:
        raise InputError(what, f"{file.name} ({error})", "write lines such as: name,label") from error
    for number, row in enumerate(rows, start=1):
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if len(cells) < 2 or not cells[0] or not cells[1]:
            got = f"{','.join(cells)[:80]!r} in line {number} of {file.name}"
            raise InputError(f"two columns in {what}", got, "write lines such as: name,label")
        table.append((number, cells[0], cells[1]))
    if table and table[0][1].lower() in HEADER_WORDS and table[0][2].lower() in HEADER_WORDS:
        del table[0]
    if not table:
        raise InputError(what, f"{file.name}, which has no lines", "write lines such as: name,label")
    return table


HEADER_WORDS = (
    *("image", "images", "image_id", "file", "filename", "file_name", "path", "name", "id", "class", "classes"),
    *("class_name", "synset", "wnid", "label", "labels", "index", "target", "number", "category"),
)
