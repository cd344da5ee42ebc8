"""The drawing kit: figures are pure functions of tables; `style` and `palette` hold what they share."""

from stmbench.figures.style import save

__all__ = ["save"]
