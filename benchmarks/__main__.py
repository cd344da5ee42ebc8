"""All benchmarks, written to docs/benchmarks.md: `python -m benchmarks` runs each and puts its figures in their place.

    python -m benchmarks                    all of them, one after the other: hours on a CPU; nothing else should run
    python -m benchmarks kernels knn        some
    python -m benchmarks --list             their names and commands
    python -m benchmarks --cuda mixers      on a GPU: figures of their own, in a section of their own

The page has a pair of comments around the figures of each, `<!-- figures: NAME -->` and `<!-- end of figures -->`; what
is between them is replaced, with the machine, the versions and the day. A benchmark that fails leaves its figures as
they are, and the command ends with 1. The page is written after each, so that a run that was stopped keeps what it has.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Final

from stmbench.measure.environment import machine_facts, software_facts

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "benchmarks.md"
START, END = "<!-- figures: {} -->", "<!-- end of figures -->"
COMMANDS: Final = {
    "mixers": ("mixers",),
    "mixers-train": ("mixers", "--train"),
    "newer": ("mixers", "--mixers", "newer"),
    "newer-train": ("mixers", "--mixers", "newer", "--train"),
    "kernels": ("kernels",),
    "matrix_share": ("matrix_share",),
    "startup": ("startup",),
    "fgsm": ("fgsm", "--rounds", "5"),
    "affinity": ("affinity",),
    "container": ("container", "--rounds", "25"),
    "erf": ("erf", "--rounds", "5", "--images", "8"),
    "perturbations": ("perturbations",),
    "local_aggregation": ("local_aggregation",),
    "local_aggregation-train": ("local_aggregation", "--train"),
    "detection_scoring": ("detection_scoring", "--rounds", "3"),
    "detection": ("detection", "--images", "96", "--rounds", "20"),
    "detection-kernels": (
        *("detection", "--model", "maskrcnn:unified_dw_conv_nano[layer_scale=0.1]"),
        *("--images", "96", "--kernels", "--rounds", "40"),
    ),
    "dino": ("dino", "--rounds", "25"),
    "coverage": ("coverage", "ratios"),
    "knn": ("knn",),
    "reports": ("reports",),
    "cluster": ("cluster",),
    "object_storage": ("object_storage",),
}
NEEDED: Final = {"cluster": "ray"}  # a package that is not always there
CUDA: Final = ("mixers", "mixers-train", "newer", "newer-train", "container", "erf", "local_aggregation",
               "local_aggregation-train", "fgsm", "dino", "knn")  # fmt: skip


def figures(name: str, command: list[str]) -> str:
    """The tables that a benchmark prints, or all that it prints where it has none. Raises CalledProcessError."""
    ran = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    lines = [line for line in ran.stdout.splitlines() if line.startswith("|")]
    printed = "\n".join(lines) if lines else f"```text\n{ran.stdout.strip()}\n```"
    if not ran.stdout.strip():
        raise ValueError(f"expected figures from {name}, got none")
    return f"{printed}\n\n{measured_on('--device' in command)}"


def measured_on(cuda: bool) -> str:
    """One line: the machine, the versions, the day."""
    machine, software = machine_facts("cuda" if cuda else "cpu"), software_facts()
    where = f"{machine['cores']} cores of an {machine['cpu']}, {machine['memory_gib']} GiB"
    where = f"{machine['gpus'][0]}, {machine['gpu_memory_gib']} GiB" if machine["gpus"] else where
    versions = ", ".join(f"{name} {software[name]}" for name in ("torch", "torchvision", "timm"))
    return f"*{where}; {versions}; {datetime.date.today():%Y-%m-%d}*"


def replaced(page: str, name: str, text: str) -> str:
    """The page with new figures of one name. Raises ValueError where it has no place for them."""
    before, start, rest = page.partition(START.format(name))
    _, end, after = rest.partition(END)
    if not (start and end):
        raise ValueError(f"expected {START.format(name)} and {END} in {PAGE.name}, got none")
    return f"{before}{start}\n{text}\n{end}{after}"


def with_place(page: str, name: str) -> str:
    """The page with a place for figures of a GPU, at its end if there is none yet."""
    if START.format(name) in page:
        return page
    return f"{page.rstrip()}\n\n### {name}\n\n{START.format(name)}\n{END}\n"


def main() -> int:
    """Run what was asked for; 1 where something failed, 2 for a name that is not there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--cuda", action="store_true")
    options = parser.parse_args()
    known = CUDA if options.cuda else tuple(COMMANDS)
    names = options.names or list(known)
    if unknown := [name for name in names if name not in known]:
        print(f"error: expected names of {', '.join(known)}, got {', '.join(unknown)}", file=sys.stderr)
        return 2
    failed = []
    for name in names:
        module, *rest = COMMANDS[name]
        place = f"{name}-cuda" if options.cuda else name
        command = [sys.executable, "-m", f"benchmarks.{module}", *rest, *(["--device", "cuda"] if options.cuda else [])]
        print(f"{place}: python {' '.join(command[1:])}", flush=True)
        if options.list:
            continue
        if (package := NEEDED.get(name)) and importlib.util.find_spec(package) is None:
            print(f"{place}: passed over, as {package} is not installed")
            continue
        try:
            text = figures(name, command)
            page = PAGE.read_text(encoding="utf-8")
            PAGE.write_text(replaced(with_place(page, place) if options.cuda else page, place, text), encoding="utf-8")
        except (subprocess.CalledProcessError, ValueError) as error:
            print(f"error: {error}", file=sys.stderr)
            failed.append(place)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
