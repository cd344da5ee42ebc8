"""The local aggregation of CoT: tap by tap, beside an unfolded copy, and beside involution's einsum over it.

    python benchmarks/local_aggregation.py                 the micro sites of cotnet at 224, batch 8, CPU
    python benchmarks/local_aggregation.py --train         forward and backward
    python benchmarks/local_aggregation.py --device cuda --batch-size 64

Prints a Markdown table: milliseconds of ours, and how many times as long the others take, with the 95 % interval of the
paired ratio. The others build nine copies of the values; ours builds none.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from stmbench.measure.backend_settings import keep_freed_memory
from stmbench.measure.bootstrap import median_interval, paired_ratio
from stmbench.measure.clock import timer_for
from stmbench.measure.interleaving import rounds
from stmbench.mixers.ops.neighbourhood_sums import contracted_sums, local_sums

SITES = ((56, 64), (28, 128), (14, 256), (7, 512))  # side and channels of CoTNet-50's bottlenecks


def unfolded(values: Tensor, taps: Tensor) -> Tensor:
    """The plain form: torch's unfold, a product, a sum over the taps."""
    batch, height, width, dim = values.shape
    groups = taps.shape[-1]
    columns = F.unfold(values.permute(0, 3, 1, 2), 3, padding=1)
    columns = columns.view(batch, dim // groups, groups, 9, height, width)
    weights = taps.permute(1, 4, 0, 2, 3)[:, None]  # B, 1, G, 9, H, W
    return (columns * weights).sum(3).view(batch, dim, height, width).permute(0, 2, 3, 1)


def main() -> None:
    """Every site, all three forms."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--train", action="store_true")
    options = parser.parse_args()
    if options.device == "cpu":
        keep_freed_memory()
    timer = timer_for(options.device)
    mode = "forward and backward" if options.train else "inference"
    print(f"batch {options.batch_size}, fp32, {options.device}, {mode}, torch {torch.__version__}, "
          f"{torch.get_num_threads()} threads\n")  # fmt: skip
    print("| map | ours, ms | unfold, times ours | 95 % | einsum, times ours | 95 % |\n|---|---|---|---|---|---|")
    forms: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "ours": lambda values, taps: local_sums(values, taps, 3),
        "unfold": unfolded,
        "einsum": lambda values, taps: contracted_sums(values, taps, 3),
    }
    for side, dim in SITES:
        shape = (options.batch_size, side, side)
        values = torch.randn(*shape, dim, device=options.device).requires_grad_(options.train)
        taps = torch.randn(9, *shape, dim // 8, device=options.device).requires_grad_(options.train)

        def run(form: Callable[[Tensor, Tensor], Tensor], values: Tensor = values, taps: Tensor = taps) -> None:
            with torch.set_grad_enabled(options.train):
                found = form(values, taps)
                if options.train:
                    torch.autograd.grad(found.sum(), (values, taps))

        assert torch.allclose(unfolded(values, taps), local_sums(values, taps, 3), atol=1e-4)
        work = {name: (lambda form=form: timer.time(lambda: run(form))) for name, form in forms.items()}
        for once in work.values():
            once()
        seconds: dict[str, list[float]] = {name: [] for name in work}
        for _, samples in zip(range(options.rounds), rounds(work, seed=0), strict=False):
            for sample in samples:
                seconds[sample.workload].append(sample.seconds)
        ratios = [paired_ratio(seconds[name], seconds["ours"]) for name in ("unfold", "einsum")]
        cells = " | ".join(f"{r.estimate:.2f} | {r.low:.2f} to {r.high:.2f}" for r in ratios)
        print(f"| {side}x{side}x{dim} | {1000 * median_interval(seconds['ours']).estimate:.2f} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
