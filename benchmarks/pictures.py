"""The documentation's pictures from stores of results: `python -m benchmarks.pictures docs/images NAME=STORE ...`.

NAME is a group below; its stores are made by the commands in docs/gallery.md, docs/affinity.md and docs/detection.md. A
picture takes at most 256 colours, which keeps it small.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure
from PIL import Image

from stmbench.errors import TableError
from stmbench.figures.across_analyses import pareto, standing
from stmbench.reporting.build_report import figures
from stmbench.reporting.facts import read_stores

PICTURES: Final = {  # group -> picture -> figure
    "micro": {name: name for name in ("throughput", "efficiency", "parts")},
    "settings": {name: name for name in ("scaling", "stability", "roofline", "latency")},
    "demo": {
        **{name: name for name in ("standing", "accuracy_throughput", "training_curves", "ranks", "mixture")},
        "invariance": "invariance_translation_stmbench_zeros_v1",
        "robustness": "robustness_accuracy",
    },
    "erf": {"erf": "erf"},
    "affinity": {"affinity": "maps"},
    "affinity_container": {"affinity_container": "maps"},
    "affinity_cot": {"affinity_cot": "maps"},
    "modern": {"modern_ranks": "standing", "modern_front": "accuracy_throughput"},
    "depth": {"attention_distance": "attention_distance"},
    "detection": {name: name for name in ("detection_ap", "detection_examples")},
}
WIDTH: Final = 1400  # pixels


def drawn(store: Path) -> dict[str, Figure]:
    """Every figure of a store, those of several analyses among them."""
    frame = read_stores([store])
    found = figures(frame, Path())
    for name, draw in (("standing", standing), ("accuracy_throughput", lambda rows: pareto(rows, "throughput"))):
        try:
            found[name] = draw(frame)
        except TableError:
            continue
    return found


def write(figure: Figure, path: Path) -> None:
    """The figure, at most WIDTH pixels wide and of at most 256 colours."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=min(200.0, WIDTH / figure.get_figwidth()))
    Image.open(buffer).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)


def main(folder: str, *stores: str) -> None:
    """Write the pictures of the groups that are named."""
    for pair in stores:
        group, _, store = pair.partition("=")
        found = drawn(Path(store))
        for picture, name in PICTURES[group].items():
            if name in found:
                write(found[name], Path(folder) / f"{picture}.png")
            print(f"{picture}: {'written' if name in found else 'no such figure in ' + store}")


if __name__ == "__main__":
    main(*sys.argv[1:])
