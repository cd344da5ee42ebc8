"""Key figures against pictures that were looked at: pytest-mpl (`--mpl` in pyproject.toml) compares what each test
returns with its picture in images/, and fails it where they differ. Make them anew, and look, with

pytest tests/figures/test_images.py --mpl-generate-path=tests/figures/images
"""

from __future__ import annotations

from typing import Any

import matplotlib
import pandas as pd
import pytest
from matplotlib.figure import Figure

from stmbench.analyses.invariance.figures import invariance_figures
from stmbench.analyses.profile.figures import profile_figures
from stmbench.figures.across_analyses import pareto, standing
from stmbench.tables import Row, frame_of
from tests.figures.test_across_analyses import whole
from tests.tables.frames import MIXERS, WHEN, profile_frame, with_attrs

MADE_WITH = "3.11"  # matplotlib draws text a little differently from version to version
picture = pytest.mark.mpl_image_compare(
    baseline_dir="images", tolerance=8, style="default", savefig_kwargs={"dpi": 72, "bbox_inches": "tight"}
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not matplotlib.__version__.startswith(f"{MADE_WITH}."), reason=f"pictures are of matplotlib {MADE_WITH}"
    ),
]


@picture
@pytest.mark.parametrize("name", ["throughput", "efficiency", "parts", "ranks"])
def test_profile(name: str) -> Figure:
    return profile_figures(profile_frame())[name]


@picture
def test_accuracy_and_throughput() -> Figure:
    return pareto(whole(), "throughput")


@picture
def test_ranks_in_everything() -> Figure:
    return standing(whole())


@picture
@pytest.mark.parametrize("kind", ["differences", "curves"])
def test_invariance(kind: str) -> Figure:
    differences, curves = invariance_figures(_shifted()).values()
    return differences if kind == "differences" else curves


def _shifted() -> pd.DataFrame:
    """Five models whose consistency falls alike, and their paired differences to the first."""
    known: dict[str, Any] = {
        "run_id": "r", "created_utc": WHEN, "kind": "summary", "analysis": "invariance_translation", "scale": "micro",
        "architecture": "unified", "weights": "digits.e12.s0:abc", "seed": 0, "dataset": "digits:abc",
        "num_images": 355, "resolution": 32, "unit": "1", "status": "ok", "dtype": "fp32", "device": "cpu",
        "definition": "stmbench.zeros.v1", "num_samples": 355,
    }  # fmt: skip
    rows = []
    for place, mixer in enumerate(MIXERS):
        for level in range(9):
            value = 1 / (1 + (level / (4 + 0.3 * place)) ** 4)
            model = {"model": f"unified_{mixer}_micro", "mixer": mixer, "level": float(level)}
            rows.append(Row(**known, **model, metric="consistency", value=value, ci_low=value - 0.04,
                            ci_high=min(1.0, value + 0.04)))  # fmt: skip
            if place:
                gain = value - 1 / (1 + (level / 4) ** 4)
                rows.append(Row(**known, **model, metric="consistency_difference", value=gain, ci_low=gain - 0.02,
                                ci_high=gain + 0.02, baseline=f"unified_{next(iter(MIXERS))}_micro"))  # fmt: skip
    return with_attrs(frame_of(rows))
