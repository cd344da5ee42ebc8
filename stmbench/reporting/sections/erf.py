from __future__ import annotations

import pandas as pd

from stmbench.reporting.content import Section
from stmbench.reporting.sections.generic import generic_section


def erf_section(frame: pd.DataFrame, everything: pd.DataFrame) -> Section:
    return generic_section(frame, everything)
