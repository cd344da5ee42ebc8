"""How a documented command is run in a test: the options that make it small, and what is not run at all and why.

Of an option that is given twice the last one counts, so the small ones stand behind what is documented.
"""

from __future__ import annotations

import re
from typing import Final

from stmbench.analyses.registry import specs

IMAGES: Final = ("--dataset", "digits", "--num-images", "2", "--device", "cpu")
OBJECTS: Final = "shapes[size=64,count=4]"  # for detectors, in the place of digits
ANALYSES: Final = tuple(spec.name for spec in specs() if spec.options is not None)
# command -> options added to it
SMALL: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(ANALYSES, IMAGES),
    "list": (),
    "export": (),
    "store": (),
    "new": (),
    "check": (),
    "report": ("--format", "html"),
    "watch": (),
    "dashboard": (),
    "history": (),
    "profile": ("--resolution", "32", "--batch-size", "2", "--no-timing", "--device", "cpu"),
    "probe": (*IMAGES, "--bank-images", "40", "--epochs", "2"),
    "robustness": (*IMAGES, "--steps", "1"),
    "corruption": (*IMAGES, "--corruptions", "contrast"),
    "similarity": (*IMAGES, "--num-images", "6", "--batch", "6"),
    "train": (
        *("--epochs", "1", "--data-fraction", "0.02", "--batch-size", "8"),
        *("--dataset", "digits", "--device", "cpu", "--workers", "0"),
    ),
    "run": ("--dry-run",),
    "study": ("--dry-run", "--seeds", "1"),
}
PLACEHOLDERS: Final = {"FILE": "experiments/quickstart.yaml", "STORE": "results/store"}
# what later lines of a page need is made anew on each page; all else is run once
LEAVES_SOMETHING: Final = ("new", "train", "history", "dashboard")
MODELS: Final = (*ANALYSES, "train")  # get models where the line names none
FEW: Final = ("--scale", "nano")
DETECTOR: Final = re.compile(r"(\w*rcnn|cascade-\w+|retinanet|(deformable-)?detr|smca):")
MODEL: Final = re.compile(rf"({DETECTOR.pattern})?((unified|container|isotropic|cotnet)_\w|timm:\w)")  # a model's name
SCALES: Final = re.compile(r"^([\w-]*:?unified_\w+)_(?:micro|tiny|small|base)\b")

# what is only parsed: a pattern of the line, and why it is not run
ONLY_PARSED: Final[dict[str, str]] = {
    r"compare --live": "starts workers for a minute a model; tests/commands/test_compare.py and tests/ci run it",
    r"/imagenet|/data/|path/to/|\.pth\b": "needs the data set or the weights; tests/commands, tests/checkpoints",
    r"^(stmbench )?watch ": "serves until it is interrupted; tests/commands/test_watch.py",
    r"s3://": "needs object storage; tests/commands/test_addresses.py",
    r"^torchrun ": "starts processes and waits for a port; tests/training",
}
# lines of other programs: a pattern, and why it is right without being run here
OTHER_PROGRAMS: Final[dict[str, str]] = {
    r"make( \w+=\S+)* [\w-]+": "a target of the Makefile",
    r"python \S+\.py\b.*": "a file of the project, tested where it belongs",
    r"\.ci/run|\$STMBENCH_SOURCE/ci/compare\.sh": "a script of the project: tests/ci",
    r"git (worktree add|clone|switch|push|commit|add)\b.*": "git's own",
    r"pip install .*": "an installation",
    r"cd .*": "the shell's",
    r"ssh .*": "the network's own",
    r"ray (start|stop)\b.*": "Ray's own",
    r"mkdocs serve": "the site's preview",
}


def small(arguments: tuple[str, ...]) -> list[str]:
    """The arguments of `stmbench`, made small. Raises KeyError for a command without a place in the table."""
    command = arguments[0]
    words = [PLACEHOLDERS.get(word, _small_models(word)) for word in arguments]
    for option in {"--mixers", "--seeds"} & set(words):  # the first; test_commands looks whether all mixers exist
        value = words.index(option) + 1
        words[value] = words[value].split(",")[0]
    added = list(SMALL.get(command, IMAGES) if "--plugin" in words else SMALL[command])
    if any(map(DETECTOR.match, words)):
        added = [OBJECTS if word == "digits" else word for word in added]
        added += ["--data-fraction", "1"] if command == "train" else []
    if "--help" in words:
        return words
    if command == "history":
        return words
    if command in MODELS and not {"-m", "--models"} & set(words) and not any(map(MODEL.match, words)):
        added += FEW
        if not {"--mixers", "--plugin"} & set(words):
            added += ["--mixers", "dw_conv"]
    return words + added


def _small_models(word: str) -> str:
    return ",".join(SCALES.sub(r"\1_nano", name) for name in word.split(","))


def reason_not_to_run(text: str) -> str | None:
    """Why a line is only parsed, or None."""
    return next((reason for pattern, reason in ONLY_PARSED.items() if re.search(pattern, text)), None)
