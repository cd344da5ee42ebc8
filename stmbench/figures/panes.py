"""Many small panes in one figure, laid out by the inch: axes of their own would take longer to make and to draw than
all that they hold."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any, Final, TypeVar

import numpy as np
from matplotlib.artist import Artist
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.image import BboxImage
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.transforms import Affine2D, Bbox, BboxTransform, Transform, TransformedBbox
from numpy.typing import ArrayLike, NDArray

from stmbench.figures.style import MUTED

POINT: Final = 1 / 72  # inches
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
    x, y = np.concatenate([part for line in lines for part in (line, gap)]).T
    stroke = Line2D(x, y, transform=page(figure), **options)
    figure.add_artist(stroke)
    return stroke
