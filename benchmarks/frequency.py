"""Time of `stmbench frequency`: each part of it for one model, from decoding the images to the written rows.

python benchmarks/frequency.py                                   the five mixers at nano on digits, on the CPU
python benchmarks/frequency.py --model unified_sw_attn_micro --dataset photos --images 7
"""

from __future__ import annotations

import argparse
import tempfile

import torch

from stmbench.analyses.frequency.analysis import FrequencyAnalysis
from stmbench.analyses.frequency.options import PARTS, FrequencyOptions
from stmbench.analyses.images import ImageRequest
from stmbench.tables import Store

NANO = [f"unified_{mixer}_nano" for mixer in ("halo_attn", "sr_attn", "sw_attn", "dw_conv", "dcnv3")]


def seconds(name: str, dataset: str, images: int, options: FrequencyOptions) -> dict[str, float]:
    """Part -> seconds of one model; the model is built, and an image has gone through it, before."""
    request = ImageRequest(models=(name,), dataset=dataset, num_images=images, batch_size=min(images, 32))
    with tempfile.TemporaryDirectory() as folder:
        analysis = FrequencyAnalysis(options, request, Store(folder))
        loaded = analysis.loaded_model(name)
        loaded.logits(torch.rand(1, 3, *loaded.preprocessing.size))
        report = analysis.run()
        parts = [analysis.store.metadata(key) for key in report.keys]
        assert not report.failures, report.failures
        return {str(part["task"]): float(part["seconds"]) for part in parts}


def main() -> None:
    """Measure every model that was named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help="repeatable; default: five mixers at nano")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--grid", type=int, default=FrequencyOptions.grid)
    parser.add_argument("--bands", type=int, default=FrequencyOptions.bands)
    given = parser.parse_args()
    options = FrequencyOptions(grid=given.grid, bands=given.bands)
    print(f"{given.images} images of {given.dataset}, grid {given.grid}, {given.bands} bands, fp32, cpu, "
          f"torch {torch.__version__}, {torch.get_num_threads()} threads\n")  # fmt: skip
    print(f"| model | {', s | '.join(PARTS)}, s |")
    print("|---" * (len(PARTS) + 1) + "|")
    for name in given.model or NANO:
        found = seconds(name, given.dataset, given.images, options)
        print(f"| {name} | {' | '.join(f'{found[part]:.2f}' for part in PARTS)} |", flush=True)


if __name__ == "__main__":
    main()
