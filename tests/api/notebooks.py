"""Run a notebook's code cells in one namespace. `python -m tests.api.notebooks FILE...` stores what they show."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def outputs(notebook: dict[str, Any]) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """(code cell, its outputs in the notebook's format), one after the other. Raises what a cell raises."""
    namespace: dict[str, Any] = {"__name__": "notebook"}
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(tree, "<cell>", "exec"), namespace)
            code = ast.Expression(last.value) if isinstance(last, ast.Expr) else None
            value = None if code is None else eval(compile(code, "<cell>", "eval"), namespace)
        found: list[dict[str, Any]] = []
        if printed.getvalue():
            found.append({"output_type": "stream", "name": "stdout", "text": printed.getvalue().splitlines(True)})
        if value is not None:
            data = {"text/plain": repr(value).splitlines(True)}
            if hasattr(value, "_repr_html_"):
                data["text/html"] = value._repr_html_().splitlines(True)
            found.append({"output_type": "execute_result", "execution_count": None, "metadata": {}, "data": data})
        yield cell, found


if __name__ == "__main__":
    for name in sys.argv[1:]:
        notebook = json.loads(Path(name).read_text(encoding="utf-8"))
        for number, (cell, found) in enumerate(outputs(notebook), start=1):
            cell["execution_count"], cell["outputs"] = number, found
            for output in found:
                if "execution_count" in output:
                    output["execution_count"] = number
        Path(name).write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
