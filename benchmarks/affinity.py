"""Time and memory of `stmbench affinity`: the numbers of all layers and heads of a model on 8 images of 224 pixels.

    python benchmarks/affinity.py                                      the five mixers at micro, on the CPU
    python benchmarks/affinity.py --model unified_sw_attn_tiny --images 32

Each model is measured in a process of its own, from decoding the photographs to the written rows, maps apart. Memory is
the process's peak while it works, less what it holds with the model loaded (its resident set, from /proc), after one
image has gone through it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from stmbench.analyses.affinity.analysis import AffinityAnalysis
from stmbench.analyses.affinity.options import AffinityConfig
from stmbench.analyses.images import ImageRequest
from stmbench.tables import Store

MICRO = [f"unified_{mixer}_micro" for mixer in ("halo_attn", "sr_attn", "sw_attn", "dw_conv", "dcnv3")]
SECONDS, MEBIBYTES = 30.0, 2048.0


def resident() -> float:
    """MiB that this process holds."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def child(name: str, images: int) -> dict[str, Any]:
    """Measure one model in this process."""
    request = ImageRequest(models=(name,), dataset="photos", num_images=images, batch_size=min(images, 8))
    with tempfile.TemporaryDirectory() as folder:
        analysis = AffinityAnalysis(AffinityConfig(), request, Store(folder))
        loaded = analysis.loaded_model(name)
        height, width = loaded.preprocessing.size
        pixels = torch.rand(images, 3, height, width)
        loaded.logits(pixels[:1])
        before, started = resident(), time.perf_counter()
        loaded.logits(pixels)
        forward = time.perf_counter() - started
        report = analysis.run()
        parts = {facts["task"]: facts for facts in map(analysis.store.metadata, report.keys)}
        frame = analysis.store.read(report.keys)
        return {
            "forward": forward,
            "seconds": parts["numbers"]["seconds"],
            "maps": parts["maps"]["seconds"],
            "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before,
            "layers": parts["numbers"]["layers"],
            "rows": len(frame),
        }


def main() -> None:
    """Measure every model that was named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help="can be given again; default: the five mixers at micro")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(options.model[0], options.images)))
        return
    print(f"{options.images} photographs, fp32, cpu, torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    print("| model | layers | rows | one forward pass, s | numbers, s | maps, s | memory above the model, MiB |")
    print("|---|---|---|---|---|---|---|")
    over = []
    for name in options.model or MICRO:
        command = [sys.executable, __file__, "--child", "--model", name, "--images", str(options.images)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"| {name} | {found['layers']} | {found['rows']} | {found['forward']:.2f} | {found['seconds']:.2f} | "
              f"{found['maps']:.2f} | {found['memory']:.0f} |", flush=True)  # fmt: skip
        over += [name] * (found["seconds"] > SECONDS or found["memory"] > MEBIBYTES)
    print(f"\nunder {SECONDS:.0f} s and 2 GiB: {'not ' + ', '.join(over) if over else 'all'}")


if __name__ == "__main__":
    main()
