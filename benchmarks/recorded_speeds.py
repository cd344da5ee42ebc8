"""How long an image takes each model on one core, written into the file that plans are made from.

    OMP_NUM_THREADS=1 python benchmarks/recorded_speeds.py [--again]

Measures the models of the unified architecture and of the experiments that come with stmbench, those alone of which
nothing is written down yet unless `--again` is given, and writes seconds into stmbench/architectures/listing.json.
"""

from __future__ import annotations

import json
import sys

from stmbench.architectures.listing import FILE
from stmbench.architectures.model_names import ModelName, model_names
from stmbench.bundled import bundled_experiments
from stmbench.errors import StmbenchError
from stmbench.experiments.estimating import Estimator
from stmbench.experiments.reading import read_experiment


def models() -> list[str]:
    """Models without options, in the order of the registries."""
    named = set[str]()
    for file in bundled_experiments().values():
        for mini in (False, True):
            try:
                named |= {line.model for line in read_experiment(file, mini=mini).models}
            except StmbenchError:  # a file without a miniature
                continue
    plain = {name for name in named if ModelName.parse(name).base == name and ModelName.parse(name).detector is None}
    return [name for name in model_names() if name in plain or name.startswith("unified_")]


def main(again: bool) -> None:
    """Measure, and write after each model: a stopped run loses nothing."""
    estimator = Estimator("cpu", threads=1)
    facts = json.loads(FILE.read_text(encoding="utf-8"))
    known = {} if again else facts["seconds"]
    for name in models():
        if name not in known:
            known[name] = float(f"{1 / estimator.speed(name):.2g}")
            print(f"{name:<50} {1e3 * known[name]:8.2f} ms", flush=True)
            facts["seconds"] = {model: known[model] for model in model_names() if model in known}
            FILE.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main("--again" in sys.argv[1:])
