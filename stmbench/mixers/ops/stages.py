"""Options that have a value for each stage of a network."""

from __future__ import annotations

from typing import Any, Final

from stmbench.errors import require

NUM_STAGES: Final = 4  # of every network


def require_stages(option: str, values: Any, remedy: str = "change the option", *, or_fewer: bool = False) -> None:
    """Raise ConfigError unless an option has a value for each stage, or, with `or_fewer`, for the first ones alone."""
    count = len(values) if isinstance(values, tuple | list) else None
    expected = f"{'up to ' if or_fewer else ''}four {option}, one for each stage"
    require(count == NUM_STAGES or (or_fewer and count in range(NUM_STAGES)), expected, values, remedy)
