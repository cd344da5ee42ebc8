"""eps, the largest change of a pixel on the scale [0, 1]: as it is written ('8/255', '0.03') and as a number."""

from __future__ import annotations

import math
from collections.abc import Iterable

from stmbench.errors import ConfigError

PAPER = ("8/255", "2/255", "0.5/255")  # Hu et al., section 6.3
REMEDY = "change --eps: pixels lie in [0, 1], so the paper's largest is 8/255"
LEVELS = 255


def eps_of(text: str) -> float:
    """The number that a text such as '8/255', '0.5/255' or '0.03' means. Raises ConfigError outside [0, 1]."""
    parts = text.strip().split("/")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or (len(numbers) == 2 and numbers[1] == 0):
        raise ConfigError("an eps such as 8/255 or 0.03", repr(text), REMEDY)
    return checked(numbers[0] / numbers[1] if len(numbers) == 2 else numbers[0], text)


def checked(value: float, text: str | None = None) -> float:
    """The eps itself, where it is a number in [0, 1]; else raises ConfigError."""
    if not (math.isfinite(value) and 0 <= value <= 1):
        raise ConfigError("an eps from 0 to 1", repr(value if text is None else text), REMEDY)
    return abs(value)  # -0.0 is 0


def ordered(values: Iterable[float]) -> tuple[float, ...]:
    """Each value once, from the smallest up."""
    return tuple(sorted(set(values)))


def words(value: float) -> str:
    """How an eps is said: in 255ths where these are whole or quarters, as '0.5/255', else as a decimal."""
    quarters = round(value * LEVELS * 4)
    if 0 < value < 1 and math.isclose(quarters, value * LEVELS * 4, rel_tol=1e-9):
        return f"{quarters / 4:.10g}/{LEVELS}"
    return f"{value:.6g}"
