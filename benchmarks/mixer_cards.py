"""docs/mixers.md: a card for each mixer, from the registry and the store of a study.

    stmbench run modern_mixers
    stmbench run modern_relations
    python -m benchmarks.mixer_cards docs results/modern_mixers results/modern_relations

A card holds the mixer's own documentation (source and formula), its facts, its cost by formula, what the studies found
(see `findings`), and a picture: where three positions of a photograph get their values from (the Jacobian of the mixer
of the second block, or of `PICTURED`; trained weights where the first store has them). Without a store the findings are
those of the last ones, and so are the pictures, unless `--pictures` asks for new ones of initial weights.
"""

from __future__ import annotations

import argparse
import inspect
import io
import sys
from pathlib import Path
from typing import Any, Final

import pandas as pd
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn

from benchmarks.findings import renewed, seeds_in, sentences
from stmbench.architectures.catalog import create_model
from stmbench.checkpoints import load_checkpoint
from stmbench.checkpoints.trained import trained_checkpoints
from stmbench.data.embedded import photos
from stmbench.errors import ConfigError
from stmbench.figures.style import GRID, HEAT, MARK, canvas
from stmbench.mixers import BUILTIN
from stmbench.mixers.affinity import jacobian_affinity
from stmbench.mixers.base import MIXERS, BlockPosition, MixerEntry

DIM, SIDE = 64, 14  # of the map that costs are given for
PIXELS: Final = 112  # of the photograph: the second block's map is 28 x 28
SECOND: Final = 1  # the block that is drawn
# the first block with the mixer that the card is about, where the network's first stages have a plain one in its place
PICTURED: Final = {"dilated_rep_kernel": 2, "gated_conv_gf": 4}
ORDINALS: Final = ("first", "second", "third", "fourth", "fifth")
PHOTO: Final = 2
QUERIES: Final = ((0.5, 0.5), (0.25, 0.7), (0.93, 0.07))  # (down, right), as fractions of the map
INTRO: Final = """# Mixers

One card for each mixer of the registry. `stmbench list mixers` prints the facts, and
`python -m benchmarks.mixer_cards docs STORE...` writes this page from the registry and from the stores of two studies
of nano models: `stmbench run modern_mixers` (digits; {seeds}) and `stmbench run modern_relations`
([a relation of distant figures](embedded_study.md#relations-a-task-that-separates-mixers)). digits tell no mixers apart
by accuracy; the findings say how a mixer behaves, not how it would do on ImageNet. Images per second were measured
while the machine did other work, too: they tell fast from slow, and are no record.

In each picture, the first square is the photograph with three positions; each other square shows, for one of them, how
strongly the mixer's output there depends on every input position: the norm of the Jacobian of the second block's mixer
(or of a later one, where the card says so), with the weights of the study, or initial ones where it has none.
"""


def module_of(entry: MixerEntry) -> str:
    """The name of the module that holds a mixer."""
    return entry.module.__module__


def body(entry: MixerEntry) -> str:
    """The documentation of the mixer's module, formula included."""
    return inspect.cleandoc(sys.modules[module_of(entry)].__doc__ or "").strip()


def costs(entry: MixerEntry) -> tuple[int, list[tuple[int, float]]]:
    """Channels, about 64, and (parameters, multiply-adds per position on 14 x 14) of the mixers of an even and an odd
    block of the third stage: one pair where they cost the same, or both, the costlier first. The card is about that."""
    dim = -(-DIM // (entry.channel_multiple or 1)) * (entry.channel_multiple or 1)
    found = set()
    for block in (0, 1):
        module: Any = entry.build(BlockPosition(stage=2, block=block, dim=dim, resolution=(SIDE, SIDE)))
        found.add((sum(p.numel() for p in module.parameters()), module.macs(SIDE, SIDE) / SIDE**2))
    return dim, sorted(found, reverse=True)


def overview() -> str:
    """A table of all mixers."""
    lines = ["| mixer | type | sampling | weights | parameters | multiply-adds |", "|---|---|---|---|---|---|"]
    for entry in map(MIXERS.get, BUILTIN):
        params, macs = costs(entry)[1][0]
        anchor = "".join(c for c in entry.title.lower().replace(" ", "-") if c.isalnum() or c in "-_")
        weights = {"both": "static and dynamic"}.get(entry.weights, entry.weights)
        title = f"[{entry.title}](#{anchor})"
        lines.append(f"| {title} | {entry.family} | {entry.sampling} | {weights} | {params:,} | {macs:,.0f} |")
    where = f"{DIM} channels (or the next number that the mixer takes) and {SIDE} x {SIDE} positions"
    said = f"Parameters, and multiply-adds per position, are of one mixer at {where}"
    return "\n".join([*lines, "", f"{said}; of the costlier one, where blocks differ.", ""])


def cost(entry: MixerEntry) -> str:
    """The costs of a mixer in one sentence, and those of the plainer blocks between, if there are any."""
    dim, found = costs(entry)
    said = [f"{params:,} parameters and {macs:,.0f} multiply-adds per position" for params, macs in found]
    others = [f"; every second block of the third stage has a smaller one: {text}" for text in said[1:]]
    return f"{said[0]} ({dim} channels, {SIDE} x {SIDE} positions){''.join(others)}"


def facts(entry: MixerEntry) -> str:
    """Type, sampling, weights, origin and citation in one line."""
    weights = {"both": "static and dynamic"}.get(entry.weights, entry.weights)
    place = f"{entry.method}, " if entry.method else ""
    return f"{entry.family}; {entry.sampling} sampling, {weights} weights; {place}{entry.citation or 'no citation'}"


def card(entry: MixerEntry, found: str, picture: str | None) -> str:
    """Markdown of one mixer. A variant of a mixer whose module was described before refers to it."""
    described = next(MIXERS.get(name) for name in BUILTIN if MIXERS.get(name).module.__module__ == module_of(entry))
    about = body(entry) if described is entry else f"A variant of {described.title}, described there."
    parts = [f"## {entry.title}", f"`{entry.name}`: {facts(entry)}.", about, f"Cost: {cost(entry)}."]
    if found:
        parts.append(f"Found: {found}.")
    if picture:
        parts.append(f"![Where {entry.title} takes its values from]({picture})")
    if picture and entry.name in PICTURED:
        parts.append(
            f"The picture is of the {ORDINALS[PICTURED[entry.name]]} block: earlier ones have a plainer mixer."
        )
    return "\n\n".join(parts)


class _InputSeenError(Exception):
    """Stops a forward pass once the mixer's input is known."""


def mixer_and_input(model: nn.Module, images: Tensor, block: int) -> tuple[nn.Module, Tensor]:
    """The mixer of a block, counted through the network, and its input (1, H, W, C)."""
    seen: list[Tensor] = []
    mixer = model.mixers()[block][2]  # type: ignore[operator]

    def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0].detach())
        raise _InputSeenError

    handle = mixer.register_forward_pre_hook(keep)
    try:
        with torch.no_grad():
            model(images)
    except _InputSeenError:
        pass
    finally:
        handle.remove()
    return mixer, seen[0]


def picture(name: str, store: Path | None) -> Figure:
    """The photograph with its positions, and a map for each of them."""
    torch.manual_seed(0)
    model_name = f"unified_{name}_nano"
    model = create_model(model_name, num_classes=10)
    if store is not None:
        try:
            load_checkpoint(model, trained_checkpoints(store, [model_name])[model_name])
        except ConfigError:
            print(f"{name}: not in the study, initial weights")
    image = photos((PIXELS, PIXELS), count=PHOTO + 1)[PHOTO : PHOTO + 1]
    mixer, x = mixer_and_input(model.eval(), image, PICTURED.get(name, SECOND))
    rows, columns = x.shape[1:3]
    places = [(int(y * rows), int(z * columns)) for y, z in QUERIES]
    positions = torch.tensor([y * columns + z for y, z in places])
    maps = jacobian_affinity(mixer, x, positions)[0].view(-1, rows, columns)
    with canvas(1.9, width=7, columns=1 + len(places)) as (figure, axes):
        for axis in axes:
            axis.set_xticks([])
            axis.set_yticks([])
            for spine in axis.spines.values():
                spine.set(visible=True, color=GRID)
        low, high = image.amin(), image.amax()
        axes[0].imshow(((image[0] - low) / (high - low)).permute(1, 2, 0).numpy(), extent=(0, columns, rows, 0))
        for axis, (y, z), weights in zip(axes[1:], places, maps, strict=True):
            axis.imshow(weights.sqrt().numpy(), cmap=HEAT, extent=(0, columns, rows, 0), vmin=0)
            for shown in (axes[0], axis):
                shown.plot(z + 0.5, y + 0.5, "o", ms=3.5, mfc="none", mec=MARK, mew=1.2)
    return figure


def write(figure: Figure, path: Path) -> None:
    """A PNG of at most 64 colours."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    Image.open(buffer).convert("RGB").quantize(64, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)


def page(values: pd.DataFrame, docs: Path) -> str:
    """The page with these findings, and the pictures that are in the folder."""
    found, cards = sentences(values), []
    for name in BUILTIN:
        place = f"images/mixers/{name}.png"
        cards.append(card(MIXERS.get(name), found.get(name, ""), place if (docs / place).exists() else None))
    return "\n".join([INTRO.format(seeds=seeds_in(values)), overview(), *(f"{text}\n" for text in cards)])


def main() -> None:
    """Write the page and the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("docs", type=Path)
    parser.add_argument("stores", type=Path, nargs="*")
    parser.add_argument("--pictures", action="store_true", help="draw them without a store, too")
    given = parser.parse_args()
    folder = given.docs / "images" / "mixers"
    folder.mkdir(exist_ok=True)
    store = given.stores[0] if given.stores else None
    if store is not None or given.pictures:
        for name in BUILTIN:
            write(picture(name, store), folder / f"{name}.png")
    (given.docs / "mixers.md").write_text(page(renewed(given.stores), given.docs))


if __name__ == "__main__":
    main()
