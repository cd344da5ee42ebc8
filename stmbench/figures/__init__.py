"""The drawing kit: figures are pure functions of tables.

style             fonts, axes, saving
palette           colours, markers and strokes
plot_data         points with labels and intervals
places            points of models and of blocks, labelled alike
groups            points of one setting, matched points
curves            trainings joined to one, axes of shares, names at the ends of lines
dots              models as rows of dots with their intervals
panes             many small panes in one figure, without axes
differences       what models have more or less than a control, as small multiples
annotations       whose an artist is, tooltips, words along a line
whiskers          intervals: drawn, cut, in digits; what hollow means
rank_correlation  Spearman's, with an interval over models
names             names beside the marks of a scatter plot
across_analyses   figures of several analyses: the Pareto front, the matrix of ranks
"""

from stmbench.figures.style import save

__all__ = ["save"]
