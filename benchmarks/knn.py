"""Seconds and peak memory of the nearest-neighbour probe.

    python benchmarks/knn.py [--bank 50000] [--queries 10000] [--width 512] [--device cpu]

Prints Markdown. Features are noisy clusters; k of 10, 20, 100 and 200 come from one pass.
"""

from __future__ import annotations

import argparse
import resource
import time

import torch

from stmbench.measure.nearest_neighbours import knn_predictions

K = (10, 20, 100, 200)
CLASSES = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("bank", 50_000), ("queries", 10_000), ("width", 512)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    random = torch.Generator().manual_seed(0)
    centres = torch.randn(CLASSES, given.width, generator=random)

    def features(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        labels = torch.randint(CLASSES, (count,), generator=random)
        return torch.randn(count, given.width, generator=random).mul_(4).add_(centres[labels]), labels

    (bank, labels), (queries, truth) = features(given.bank), features(given.queries)
    before = peak()
    start, cpu = time.perf_counter(), time.process_time()
    found = knn_predictions(bank, labels, queries, k=K, num_classes=CLASSES, device=given.device)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    accuracy = ", ".join(f"{100 * float((found[k] == truth).double().mean()):.1f} % at k = {k}" for k in K)
    sizes = f"{given.bank} x {given.width} bank, {given.queries} queries"
    print(f"{sizes}, {given.device}, {torch.get_num_threads()} threads\n")
    print("| seconds | processor seconds | peak memory, MiB | of it before, MiB |\n|--:|--:|--:|--:|")
    print(f"| {seconds:.2f} | {cpu:.2f} | {peak():.0f} | {before:.0f} |\n\nAccuracy: {accuracy}.")


def peak() -> float:
    """Peak resident memory of this process, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
