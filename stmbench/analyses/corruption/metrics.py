"""The metrics that this analysis adds to the table; no torch."""

from __future__ import annotations

from typing import Final

UNITS: Final = {
    "mean_accuracy": "1",
    "corruption_error": "1",
    "relative_corruption_error": "1",
    "mean_corruption_error": "1",
    "relative_mean_corruption_error": "1",
}
