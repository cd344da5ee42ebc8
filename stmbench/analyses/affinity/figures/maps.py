"""Affinity maps: what chosen output positions look at (Gao et al. 2021, Fig. 1 right), for one model or for several."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Final

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from stmbench.analyses.affinity.figures.rows import MEAN, Floats, ModelMaps, Panel, Strip
from stmbench.figures.annotations import mark
from stmbench.figures.panes import POINT, Pane, of_pixels, strokes, write
from stmbench.figures.style import HEAT, INK, MARK, MUTED, STYLE, shorten

SIDE: Final = 1.0  # inches of a panel
GAP: Final = 0.1  # inches between panels
BETWEEN: Final = 0.2  # and between groups of them
TICK: Final = 3.2 * POINT
BELOW: Final = 0.17  # inches for the words under a panel
MOST: Final = 24  # strips in one figure
SIGNED: Final = "RdBu_r"
POWER: Final = 1 / 3  # colours follow this power of the weight: a mean over many tokens would be invisible beside one
TICKS: Final = (0.0, 0.01, 0.1, 0.4, 1.0)  # of the largest weight
BAR: Final = 0.62  # inches for a colour bar and its numbers
Group = tuple[Panel, ...]
Row = tuple[tuple[str, ...], tuple[Group, ...]]  # its name, line by line, and its groups of panels


def maps_of(model: ModelMaps) -> Figure:
    """A strip of panels for each layer, part, head and image of one model; a column for each position."""
    shown = model.strips[:MOST]
    words = model.words
    if len(model.strips) > len(shown):
        words += f" · the first {len(shown)} of {len(model.strips)} rows"
    has_parts = len({strip.part for strip in shown}) > 1
    rows: list[Row] = [(_strip_words(strip, has_parts), (strip.panels,)) for strip in shown]
    return _grid(rows, [model.name] * len(rows), ("",), f"Affinity of {shorten(model.label)}", words, _key(shown))


def compared(models: Sequence[ModelMaps]) -> Figure:
    """A row for each model; the first and the last of its layers side by side, a column for each position."""
    ends = [[_of_place(model.strips, place) for place in (0, -1)] for model in models]
    if all(first is last for first, last in ends):
        ends = [[first] for first, _ in ends]
    heads = tuple(_common(column) for column in zip(*ends, strict=True))
    every_untrained = all(model.is_untrained for model in models)
    rows: list[Row] = []
    for model, strips in zip(models, ends, strict=True):
        # what the headings do not say of every row is said in the row's name
        own = [_own(strip, head) for strip, head in zip(strips, heads, strict=True) if _place(strip) != head]
        random = ["random init"] if model.is_untrained and not every_untrained else []
        rows.append(((shorten(model.label), *random, *own), tuple(strip.panels for strip in strips)))
    words = list(dict.fromkeys(model.words.replace(" · random init", "") for model in models))
    subtitle = " | ".join(words)
    if any(strip.image is not None for strips in ends for strip in strips):
        subtitle = subtitle.replace(" images", " images, of which the first is shown")
    subtitle += " · random init" if every_untrained else ""
    return _grid(
        rows,
        [model.name for model in models],
        heads,
        "Affinity at the same positions",
        subtitle,
        _key([s for strips in ends for s in strips]),
    )


def _of_place(strips: Sequence[Strip], number: int) -> Strip:
    """The whole affinity (the first part, head and image) of the first or the last layer."""
    layers = list(dict.fromkeys((strip.stage, strip.block) for strip in strips))
    return next(strip for strip in strips if (strip.stage, strip.block) == layers[number])


def _common(strips: Sequence[Strip]) -> str:
    """What the layers of a column have in common."""
    places, sizes = {_place(strip) for strip in strips}, {strip.size for strip in strips}
    if len(places) == 1:
        return places.pop()
    stages = {strip.stage for strip in strips}
    if len(stages) == len(sizes) == 1:
        height, width = sizes.pop()
        return f"stage {stages.pop() + 1} · {height}×{width}"
    return ""


def _own(strip: Strip, head: str) -> str:
    return f"stage {strip.stage + 1}: block {strip.block + 1}" if head else _place(strip)


def _grid(rows: Sequence[Row], keys: Sequence[str], heads: Sequence[str], title: str, words: str, key: str) -> Figure:
    """Panels laid out by the inch: a row for each model or strip, under a title, above a key."""
    # capitals take 0.085 inches at 8.5 points, other letters less
    widths = [0.075 * len(texts[0]) + 0.012 * sum(map(str.isupper, texts[0])) for texts, _ in rows]
    label = 0.2 + max(*widths, *(0.058 * len(text) for texts, _ in rows for text in texts[1:]), 0.5)
    columns = [max(len(groups[number]) for _, groups in rows) for number in range(len(heads))]
    tall = SIDE * max(panel.shape[0] / panel.shape[1] for _, groups in rows for group in groups for panel in group)
    across = sum(columns) * (SIDE + GAP) + BETWEEN * (len(columns) - 1)
    panels = [panel for _, groups in rows for group in groups for panel in group]
    most = max(float(np.abs(panel.weights).max()) for panel in panels) or 1.0
    bars = sorted({panel.is_signed for panel in panels})
    width = max(label + across + BAR * len(bars) + 0.1, 0.062 * len(words) + 0.2, 4.6)
    lines = textwrap.wrap(key, int((width - 0.2) / 0.056))
    top, bottom = 0.64 + (0.2 if any(heads) else 0.0), 0.16 + 0.13 * len(lines)
    height = top + len(rows) * (tall + BELOW + GAP) + bottom
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        for line, (texts, groups) in enumerate(rows):
            below = height - top - line * (tall + BELOW + GAP) - tall
            left = label
            for number, (group, count) in enumerate(zip(groups, columns, strict=True)):
                for place, panel in enumerate(group):
                    own = SIDE * panel.shape[0] / panel.shape[1]
                    bounds = left + place * (SIDE + GAP), below + (tall - own) / 2, SIDE, own
                    drawn = _draw(of_pixels(figure, bounds, panel.shape), panel, most)
                    mark(drawn, keys[line], f"{texts[0]}, position {panel.position}")
                if line == 0:
                    figure.text(left / width, 1 - (top - 0.07) / height, heads[number], fontsize=8, color=MUTED)
                left += count * (SIDE + GAP) + BETWEEN
            for number, text in enumerate(texts):
                middle = below + tall / 2 + 0.075 * (len(texts) - 1) - 0.15 * number
                name = figure.text((label - 0.08) / width, middle / height, text, ha="right", va="center",
                            fontsize=8.5 if number == 0 else 7, color=INK if number == 0 else MUTED)  # fmt: skip
                mark(name, keys[line])
        for place, is_signed in enumerate(bars):
            left = (label + across + 0.08 + BAR * place) / width
            _bar(figure.add_axes((left, (height - top - tall) / height, 0.1 / width, tall / height)), most, is_signed)
        figure.text(0.1 / width, 1 - 0.1 / height, title, fontsize=11, fontweight="bold", va="top")
        figure.text(0.1 / width, 1 - 0.36 / height, words, fontsize=8.5, color=MUTED, va="top")
        figure.text(0.1 / width, 0.07 / height, "\n".join(lines), fontsize=7, color=MUTED, va="bottom")
    return figure


def _scaled(weights: Floats, most: float) -> Floats:
    """Weights as places on the scale of colours, from -1 or 0 to 1."""
    shares: Floats = np.sign(weights) * (np.abs(weights) / most) ** POWER
    return shares


def _bar(axes: Axes, most: float, is_signed: bool) -> None:
    """The colour of each weight, the same in all panels."""
    low = -1.0 if is_signed else 0.0
    ramp = np.linspace(low, 1, 128)[:, None]
    axes.imshow(ramp, cmap=SIGNED if is_signed else HEAT, aspect="auto", origin="lower", extent=(0, 1, low, 1))
    ticks = sorted({sign * tick for tick in TICKS for sign in ((-1, 1) if is_signed else (1,))})
    ticks = [tick for tick in ticks if not is_signed or abs(tick) in (0.0, 0.1, 1.0)]
    axes.set_xticks([])
    axes.set_yticks(_scaled(np.asarray(ticks), 1.0), [f"{tick * most:.2g}" for tick in ticks], fontsize=6.5)
    axes.yaxis.tick_right()
    axes.tick_params(length=2, width=0.5, pad=1.5)
    axes.set_xlabel("weight", fontsize=6.5, color=MUTED, labelpad=9)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _draw(pane: Pane, panel: Panel, most: float) -> list[Artist]:
    top = float(np.abs(panel.weights).max()) or 1.0
    shares = _scaled(panel.weights, most)
    drawn: list[Artist] = [pane.frame()]
    if panel.is_signed:
        drawn.append(pane.fill(shares, SIGNED, -1))
    elif panel.picture is None:
        drawn.append(pane.fill(shares, HEAT))
    else:
        # the picture is grey and pale, so that the weights stand out
        drawn.append(pane.fill((panel.picture.mean(axis=2) + 200) / 530, "gray", smooth=True))
        coloured = HEAT(shares)
        coloured[..., 3] = np.minimum(1.0, 1.2 * shares)
        drawn.append(pane.fill(coloured, HEAT))
    # the token itself is framed, and found by the ticks around the panel: a mark would hide a 3 x 3 kernel
    step_y, step_x = panel.step
    corner = panel.x - step_x / 2, panel.y - step_y / 2
    token = Rectangle(corner, step_x, step_y, fill=False, edgecolor=MARK, linewidth=0.9, zorder=4)
    drawn.append(pane.add(token))
    (left, lower), (right, upper) = pane.box.min, pane.box.max
    x, y = pane.at(panel.x, panel.y)
    ends = [
        np.array([at, (at[0] + TICK * across, at[1] + TICK * up)])
        for at, across, up in (((left, y), -1, 0), ((right, y), 1, 0), ((x, lower), 0, -1), ((x, upper), 0, 1))
    ]
    drawn.append(strokes(pane.figure, ends, color=MARK, linewidth=1.3, solid_capstyle="butt", snap=True))
    said = f"max {_number(top)}" if panel.padding < 0.005 else f"{100 * panel.padding:.0f} % padding"
    middle = (left + right) / 2, lower - TICK
    drawn.append(write(pane.figure, f"{panel.position}: {said}", middle, (0, -3.5), ha="center", va="top", fontsize=6,
                       color=MUTED))  # fmt: skip
    return drawn


def _number(value: float) -> str:
    return f"{value:.2g}" if value < 0.1 else f"{value:.2f}"


def _strip_words(strip: Strip, has_parts: bool) -> tuple[str, ...]:
    words = [strip.part if strip.part == "whole" else f"{strip.part} part"] if has_parts else []
    words += [f"head {strip.head}"] if strip.head != MEAN else []
    words += [f"image {strip.image + 1}"] if strip.image is not None else []
    return (_place(strip), *words)


def _place(strip: Strip) -> str:
    return f"stage {strip.stage + 1}, block {strip.block + 1} · {strip.size[0]}×{strip.size[1]}"


def _key(strips: Sequence[Strip]) -> str:
    signed = any(panel.is_signed for strip in strips for panel in strip.panels)
    of = "the mean over heads" if all(strip.head == MEAN for strip in strips) else "single heads where they are named"
    scale = "colour: cube root of the weight, on one scale" + (", red and blue if signed" if signed else "")
    said = f"frame and ticks: the output position, its number on the map below; {scale}; {of}"
    return said + ("; a reduced token's weight is spread over its patch" if any(map(_is_reduced, strips)) else "")


def _is_reduced(strip: Strip) -> bool:
    return any(panel.is_reduced for panel in strip.panels)
