"""Many small panes in one figure, laid out by the inch: axes of their own would take longer to make and to draw than
all that they hold."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

import numpy as np
from matplotlib.artist import Artist
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.image import BboxImage
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.ticker import Locator, ScalarFormatter
from matplotlib.transforms import Affine2D, Bbox, BboxTransform, Transform, TransformedBbox
from numpy.typing import ArrayLike, NDArray

from stmbench.figures.style import GRID, MUTED

POINT: Final = 1 / 72  # inches
TICK: Final = 3.5 * POINT
A = TypeVar("A", bound=Artist)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Pane:
    """A place in a figure for what has coordinates of its own.

    Attributes:
        box: where it is, in inches from the figure's lower left corner.
        x: the coordinates of its left and right edge.
        y: those of its lower and upper edge.
    """

    figure: Figure
    box: Bbox
    x: tuple[float, float]
    y: tuple[float, float]

    @functools.cached_property
    def inches(self) -> BboxTransform:
        """From the pane's coordinates to inches of the figure."""
        (left, right), (lower, upper) = self.x, self.y
        return BboxTransform(Bbox([[left, lower], [right, upper]]), self.box)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """A place in inches."""
        across, up = self.inches.transform((x, y))
        return float(across), float(up)

    @functools.cached_property
    def _edges(self) -> TransformedBbox:
        return TransformedBbox(self.box, page(self.figure))

    @functools.cached_property
    def _place(self) -> Transform:
        return self.inches + page(self.figure)

    def add(self, artist: A) -> A:
        """Draw what is in the pane's coordinates, as far as it is inside."""
        artist.set_transform(self._place)
        artist.set_clip_box(self._edges)
        self.figure.add_artist(artist)
        return artist

    def fill(self, colours: ArrayLike, cmap: Colormap | str, low: float = 0.0, *, smooth: bool = False) -> BboxImage:
        """An array as the pane's ground, its first row uppermost, in colours from `low` to 1.

        Args:
            colours: (H, W) numbers, or (H, W, 4) colours, which need no map.
            smooth: blend between pixels, as in a photo.
        """
        image = BboxImage(self._edges, cmap=cmap, norm=Normalize(low, 1), origin="upper", zorder=0,
                          interpolation="auto" if smooth else "nearest")  # fmt: skip
        image.set_data(colours)
        image.set_clip_box(self._edges)
        self.figure.add_artist(image)
        self.figure.suppressComposite = True  # images stay apart, as each may be some model's
        return image

    def frame(self) -> Rectangle:
        """A thin line around it."""
        left, lower, width, height = self.box.bounds
        frame = Rectangle((left, lower), width, height, fill=False, edgecolor=MUTED, linewidth=0.5, zorder=2.5,
                          transform=page(self.figure))  # fmt: skip
        self.figure.add_artist(frame)
        return frame


def page(figure: Figure) -> Transform:
    """From inches to the page; unlike `dpi_scale_trans` also where a file is cut to what is drawn."""
    width, height = figure.get_size_inches()
    return Affine2D().scale(1 / width, 1 / height) + figure.transFigure


def of_pixels(figure: Figure, bounds: tuple[float, float, float, float], shape: tuple[int, ...]) -> Pane:
    """The pane of an array of (H, W): whole numbers are the middles of pixels, and rows count downwards.

    Args:
        bounds: left edge, lower edge, width and height, in inches.
    """
    height, width = shape[:2]
    return Pane(figure=figure, box=Bbox.from_bounds(*bounds), x=(-0.5, width - 0.5), y=(height - 0.5, -0.5))


def write(figure: Figure, text: str, at: tuple[float, float], points: tuple[float, float], **options: Any) -> Text:
    """Write so many points right of and above a place in inches."""
    x, y = (place + POINT * beside for place, beside in zip(at, points, strict=True))
    return figure.text(x, y, text, transform=page(figure), **options)


def strokes(figure: Figure, lines: Iterable[NDArray[np.float64]], **options: Any) -> Line2D:
    """Lines of one look as one artist: each (points, 2), in inches."""
    gap = np.full((1, 2), np.nan)
    x, y = np.concatenate([np.empty((0, 2)), *(part for line in lines for part in (line, gap))]).T
    stroke = Line2D(x, y, transform=page(figure), **options)
    figure.add_artist(stroke)
    return stroke


def numbers(locator: Locator, limits: tuple[float, float]) -> dict[float, str]:
    """Places on an axis with these limits, and the numbers at them."""
    places = [float(place) for place in locator.tick_values(*limits) if limits[0] <= place <= limits[1]]
    words = ScalarFormatter(useOffset=False)  # there is no place for an offset
    words.set_scientific(False)
    words.create_dummy_axis()
    assert words.axis is not None
    words.axis.set_view_interval(*limits)
    return dict(zip(places, words.format_ticks(places), strict=True))


def draw_axes(
    panes: Sequence[Pane],
    across: Mapping[float, str],
    up: Mapping[float, str],
    *,
    lowest: Collection[Pane],
    first: Collection[Pane],
) -> None:
    """Every pane's left and lower edge with ticks, and level grid lines.

    Args:
        across, up: places on the axes, with the words at them.
        lowest, first: the panes that have words below them, and left of them.
    """
    figure, edges, ticks, grid = panes[0].figure, [], [], []
    for pane in panes:
        (x0, y0), (x1, y1) = pane.box.min, pane.box.max
        edges.append(np.array([(x0, y1), (x0, y0), (x1, y0)]))
        for value, words in across.items():
            x, _ = pane.at(value, 0)
            ticks.append(np.array([(x, y0), (x, y0 - TICK)]))
            if pane in lowest:
                write(figure, words, (x, y0 - TICK), (0, -3.5), fontsize=7.5, ha="center", va="top")
        for value, words in up.items():
            _, y = pane.at(0, value)
            ticks.append(np.array([(x0, y), (x0 - TICK, y)]))
            grid.append(np.array([(x0, y), (x1, y)]))
            if pane in first:
                write(figure, words, (x0 - TICK, y), (-3.5, 0), fontsize=7.5, ha="right", va="center_baseline")
    strokes(figure, grid, color=GRID, linewidth=0.7, zorder=0.5, snap=True)
    strokes(figure, ticks, color=MUTED, linewidth=0.8, zorder=0.6, snap=True, solid_capstyle="butt")
    strokes(figure, edges, color=MUTED, linewidth=0.7, zorder=2.5, snap=True)
