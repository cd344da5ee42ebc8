"""When a profile says nothing, or is not fit to publish: what those who write the table and those who read it share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

FEWEST_ROUNDS: Final = 10  # of a profile; fewer say nothing about an interval's ends, a ratio or a rank
UNFIT: Final = "not fit to publish"  # how such a warning starts


def unfit(warnings: Iterable[str]) -> list[str]:
    """Those warnings that stand above a summary, each once."""
    return [text for text in dict.fromkeys(warnings) if text.startswith(UNFIT)]


def few_rounds(count: int) -> str:
    """Why there is no interval."""
    rounds = "1 round" if count == 1 else f"{count} rounds"
    return f"{rounds}, and {FEWEST_ROUNDS} are the fewest that say anything: no interval, ratio or rank"
