"""Pictures of labelled sets beside each other, class by class.

python examples/contact_sheet.py "shapes[relation=same]" "shapes[relation=larger]" --out sheet.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt

from stmbench.data.sets import open_set

ACROSS = 6  # pictures of a class


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="SET", help="names or paths as --dataset takes them")
    parser.add_argument("--out", type=Path, default=Path("sheet.png"))
    arguments = parser.parse_args()
    rows = []
    for name in arguments.sets:
        images = open_set(name)
        labels, classes = images.labels(), images.classes
        if labels is None or classes is None:
            parser.error(f"{name} has no classes")
        for label, title in enumerate(classes):
            rows.append((title, [images.read(int(index))[0] for index in (labels == label).nonzero()[0][:ACROSS]]))
    figure, axes = plt.subplots(len(rows), ACROSS, figsize=(1.1 * ACROSS + 1.0, 1.1 * len(rows)), squeeze=False)
    for places, (title, pictures) in zip(axes, rows, strict=True):
        for place in places:
            place.set_axis_off()
        for place, picture in zip(places, pictures, strict=False):
            place.imshow(picture)
        places[0].text(-0.1, 0.5, title, transform=places[0].transAxes, ha="right", va="center")
    figure.subplots_adjust(
        left=1.0 / figure.get_figwidth(), right=0.99, top=0.99, bottom=0.01, wspace=0.05, hspace=0.05
    )
    figure.savefig(arguments.out, dpi=96)


if __name__ == "__main__":
    main()
