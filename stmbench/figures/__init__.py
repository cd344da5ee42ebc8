"""The drawing kit: figures are pure functions of tables.

style, palette         fonts, colours, markers, saving
plot_data              points with labels and intervals
display_units          units and numbers for people
groups                 points of one setting, matched points
annotations            names beside points, tooltips
scatter                points and limits of a scatter plot
pareto, rank_matrix    figures of several analyses together
"""

from stmbench.figures.style import save

__all__ = ["save"]
