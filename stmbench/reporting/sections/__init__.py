"""One file for each analysis: its rows to a section of the report. An analysis that has none gets a plain table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pandas as pd

from stmbench.figures.invariance import PREFIX
from stmbench.reporting.content import Section
from stmbench.reporting.sections.affinity import affinity_section
from stmbench.reporting.sections.cross_analysis import together_section
from stmbench.reporting.sections.erf import erf_section
from stmbench.reporting.sections.evaluation import evaluation_section
from stmbench.reporting.sections.generic import generic_section
from stmbench.reporting.sections.invariance import invariance_section
from stmbench.reporting.sections.profile import profile_section
from stmbench.reporting.sections.rest import with_the_rest
from stmbench.reporting.sections.robustness import robustness_section
from stmbench.reporting.sections.training import training_section

Builder = Callable[[pd.DataFrame, pd.DataFrame], Section]

BUILDERS: Final[dict[str, Builder]] = {
    "train": training_section,
    "profile": profile_section,
    "eval": evaluation_section,
    "erf": erf_section,
    f"{PREFIX}translation": invariance_section,
    f"{PREFIX}rotation": invariance_section,
    f"{PREFIX}scale": invariance_section,
    "robustness": robustness_section,
    "affinity": affinity_section,
}


def sections(frame: pd.DataFrame) -> tuple[Section, ...]:
    """A section for each analysis in the table: known ones in a fixed order, then the others by name; before them
    what only several can say."""
    present = set(frame["analysis"])
    order = [name for name in BUILDERS if name in present] + sorted(present - set(BUILDERS))
    whole = together_section(frame)
    found = [] if whole is None else [whole]
    for name in order:
        chosen = frame[frame["analysis"] == name]
        chosen.attrs = frame.attrs
        known = BUILDERS.get(name)
        found.append(with_the_rest(known(chosen, frame), chosen) if known else generic_section(chosen, frame))
    return tuple(found)
