"""Whether an analysis draws from rows alone: `python -m stmbench.reporting.drawing_check NAME STORE [PLUGIN ...]`.

It runs in a process of its own, which has measured nothing and can run no model, and prints a JSON object: what is
wrong with each view ('terminal', 'figures', 'section'), and under 'rest' the metrics that the section leaves out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from stmbench.analyses.registry import ANALYSES, AnalysisSpec, View
from stmbench.plugins import load_plugins
from stmbench.reporting.content import Section
from stmbench.reporting.model_table import with_the_rest
from stmbench.tables import read

NONE = "expected figures by name, got none, and the section does not say why"


def complaints(spec: AnalysisSpec, frame: pd.DataFrame, folder: Path) -> dict[str, str]:
    """View -> what is wrong with what it draws of the rows; nothing where all is well."""
    found: dict[str, str] = {}
    views: tuple[Literal["terminal", "figures", "section"], ...] = ("terminal", "figures", "section")
    for what in views:
        draw = spec.view(what)
        if draw is None:
            continue
        rows = frame.copy(deep=True)
        rows.attrs = dict(frame.attrs)
        try:
            drawn = draw(View(rows=rows, whole=frame, folder=folder))
        except Exception as error:  # code of others: whatever it raises is the finding
            found[what] = f"{type(error).__name__}: {' '.join(str(error).split())}"
            continue
        if not rows.equals(frame):
            found[what] = "it changes the rows that it is given"
        elif what == "figures" and not (isinstance(drawn, Mapping) and drawn):
            found[what] = NONE if drawn == {} else f"expected figures by name, got {drawn!r}"
        elif what == "section" and not isinstance(drawn, Section):
            found[what] = f"expected a reporting.content.Section, got {type(drawn).__name__}"
        elif what == "section" and (rest := _left_out(drawn, frame)):
            found["rest"] = rest
        if what == "section" and isinstance(drawn, Section) and _says_why(drawn) and found.get("figures") == NONE:
            del found["figures"]
    return found


def _says_why(section: Section) -> bool:
    """Whether a note says which figure is left out: one that would hold a single point, say."""
    return any(caveat.kind == "note" and caveat.text.startswith("No figure") for caveat in section.caveats)


def _left_out(section: Section, frame: pd.DataFrame) -> str:
    """'4 values of a_metric, b_metric', of summary rows that a section does not show."""
    whole = with_the_rest(section, frame)
    if whole is section:
        return ""
    lines = whole.tables[-1].lines
    names = dict.fromkeys(line.cells[1].text for line in lines)
    return f"{len(lines)} values of {'; '.join(names)}"


def _forbid_models() -> None:
    """From now on torch cannot be imported or, where a plug-in has imported it, no module can be called."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        sys.modules["torch"] = None  # type: ignore[assignment]
        return

    def refuse(module: object, *_: Any, **__: Any) -> None:
        raise RuntimeError(f"a model is run ({type(module).__name__}), and rows from elsewhere come without models")

    torch.nn.Module.__call__ = refuse


def main(name: str, store: str, *plugins: str) -> None:
    """Print the complaints on what an analysis draws of the rows in a store."""
    load_plugins(plugins)
    spec = ANALYSES.get(name)
    _forbid_models()
    frame = read(store)
    chosen = frame[frame["analysis"].isin(spec.writes)]
    chosen.attrs = frame.attrs
    print(json.dumps(complaints(spec, chosen, Path(store))))


if __name__ == "__main__":
    main(*sys.argv[1:])
