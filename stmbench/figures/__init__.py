"""Figures: pure functions of a table, one per file; `style` and `palette` hold what they share."""

from stmbench.figures.profile.figures import profile_figures
from stmbench.figures.style import save

__all__ = ["profile_figures", "save"]
