"""Time of `stmbench similarity`: the layers of a model, and the comparison of two, to the written rows.

python benchmarks/similarity.py                                  the five mixers at nano on digits, on the CPU
python benchmarks/similarity.py --model unified_sw_attn_micro --dataset photos --images 64
"""

from __future__ import annotations

import argparse
import tempfile

import torch

from stmbench.analyses.images import ImageRequest
from stmbench.analyses.similarity.analysis import SimilarityAnalysis
from stmbench.analyses.similarity.options import SimilarityOptions
from stmbench.tables import Store

NANO = [f"unified_{mixer}_nano" for mixer in ("halo_attn", "sr_attn", "sw_attn", "dw_conv", "dcnv3")]


def seconds(names: list[str], dataset: str, images: int, options: SimilarityOptions) -> list[tuple[str, str, float]]:
    """(task, models, seconds) of every unit: of each model, and of each pair with the first."""
    request = ImageRequest(models=tuple(names), dataset=dataset, num_images=images, batch_size=min(images, 32))
    with tempfile.TemporaryDirectory() as folder:
        report = (analysis := SimilarityAnalysis(options, request, Store(folder))).run()
        assert not report.failures, report.failures
        parts = [analysis.store.metadata(key) for key in report.keys]
        return [(str(part["task"]), ", ".join(part["models"]), float(part["seconds"])) for part in parts]


def main() -> None:
    """Measure every model that was named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help="repeatable; default: five mixers at nano")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--batch", type=int, default=None)
    parser.add_argument("--features", default="flat")
    given = parser.parse_args()
    options = SimilarityOptions(batch=given.batch, features=given.features)
    print(f"{given.images} images of {given.dataset}, {given.features}, fp32, cpu, torch {torch.__version__}, "
          f"{torch.get_num_threads()} threads\n")  # fmt: skip
    print("| unit | models | s |\n|---|---|---|")
    for task, models, spent in seconds(given.model or NANO, given.dataset, given.images, options):
        print(f"| {task} | {models} | {spent:.2f} |", flush=True)


if __name__ == "__main__":
    main()
