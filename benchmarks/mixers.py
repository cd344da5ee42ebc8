"""Each mixer beside its peers in timm and torchvision: the same work, the same input, one run, interleaved.

    python -m benchmarks.mixers                       the micro positions at 224, batch 8, inference
    python -m benchmarks.mixers --train               forward and backward
    python -m benchmarks.mixers --mixers newer        those of `newer_peers`, or names joined by commas
    python -m benchmarks.mixers --authors FOLDER      those of `authors_peers`, with files that are not in the project
    python -m benchmarks.mixers --processor-time      for a busy machine; one thread (OMP_NUM_THREADS=1)
    python -m benchmarks.mixers --device cuda --dtype bf16 --scale tiny --batch-size 64

Prints a Markdown table: milliseconds of ours, and how many times as long each peer takes, with the 95 % interval of the
paired ratio. A peer gets its input in the layout it was written for, so that no conversion is charged to it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from timm.layers.halo_attn import HaloAttn as TimmHaloAttn
from timm.models.pvt_v2 import Attention as TimmSrAttn
from timm.models.swin_transformer import SwinTransformerBlock
from torch import Tensor, nn
from torchvision.models.swin_transformer import ShiftedWindowAttention
from torchvision.ops import deform_conv2d

from benchmarks import authors_peers
from benchmarks.authors_files import NoPeerError
from benchmarks.authors_peers import AUTHORS
from benchmarks.newer_peers import NEWER, Call, Peer
from stmbench.architectures.catalog import create_model
from stmbench.measure.backend_settings import keep_freed_memory
from stmbench.measure.bootstrap import median_interval, paired_ratio
from stmbench.measure.clock import Timer, WallTimer, timer_for
from stmbench.measure.interleaving import rounds
from stmbench.mixers.base import BlockPosition
from stmbench.mixers.dcnv3 import POINTS, Dcnv3
from stmbench.mixers.ops.bilinear import grid_sums

PAPERS = ("halo_attn", "sr_attn", "sw_attn", "dw_conv", "dcnv3")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class ProcessorTimer(WallTimer):
    """Seconds of the processor, which other processes do not add to."""

    def stamp(self) -> int:
        return time.process_time_ns()


def peers(name: str, ours: nn.Module, position: BlockPosition) -> dict[str, Peer]:
    """Modules that do the same work (attention with its projections; timm's halo has none at its end: one is added)."""
    if name in NEWER:
        return NEWER[name](ours, position)
    dim, (height, width), config = position.dim, position.resolution, ours.config
    if name == "halo_attn":
        halo = TimmHaloAttn(dim, num_heads=config.heads, dim_head=dim // config.heads, block_size=config.window,
                            halo_size=config.before)  # fmt: skip
        return {"timm HaloAttn + 1x1 conv": (nn.Sequential(halo, nn.Conv2d(dim, dim, 1)), True)}
    if name == "sw_attn":
        block = SwinTransformerBlock(dim, (height, width), num_heads=config.heads, window_size=config.window,
                                     shift_size=config.shift)  # fmt: skip
        theirs = ShiftedWindowAttention(dim, [config.window] * 2, [config.shift] * 2, config.heads)
        # only the attention: its norms, MLP and drop path are not ours to time
        return {
            "timm Swin attention": (Call(block, lambda b, x: b._attn(x)), False),
            "torchvision ShiftedWindowAttention": (theirs, False),
        }
    if name == "sr_attn":
        attention = TimmSrAttn(dim, num_heads=config.heads, sr_ratio=config.ratio, linear_attn=False)
        size = [height, width]
        call = Call(attention, lambda a, x: a(x.flatten(1, 2), size).view_as(x))
        return {"timm PVTv2 attention": (call, False)}
    if name == "dw_conv":
        depthwise = nn.Conv2d(dim, dim, config.kernel, padding=config.kernel // 2, groups=dim)
        return {
            "torch convolutions, NCHW": (nn.Sequential(nn.Conv2d(dim, dim, 1), depthwise, nn.Conv2d(dim, dim, 1)), True)
        }
    assert isinstance(ours, Dcnv3)
    return {
        "torchvision deform_conv2d": (Call(ours, _deformed), False),
        "grid_sample": (Call(ours, _grid_sampled), False),
    }


def _deformed(mixer: Dcnv3, x: Tensor) -> Tensor:
    """DCNv3 by torchvision's operator with a kernel of ones; offsets are shifted to its own base grid."""
    places, weights = mixer.points(x)
    batch, height, width, dim = x.shape
    y, x_ = torch.meshgrid(torch.arange(height, device=x.device), torch.arange(width, device=x.device), indexing="ij")
    step = torch.arange(POINTS, device=x.device)
    base = torch.stack((y[..., None] + step // 3 - 1, x_[..., None] + step % 3 - 1), -1).to(x.dtype)  # H, W, 9, (y, x)
    offset = (places.flip(-1) - base[:, :, None]).permute(0, 3, 4, 5, 1, 2).reshape(batch, -1, height, width)
    assert not offset.isnan().any()  # deform_conv2d reads outside its memory on NaN
    mask = weights.permute(0, 3, 4, 1, 2).reshape(batch, -1, height, width)
    ones = torch.ones(dim, 1, 3, 3, device=x.device, dtype=x.dtype)
    y = deform_conv2d(mixer.proj_in(x).permute(0, 3, 1, 2).contiguous(), offset, ones, padding=1, mask=mask)
    out: Tensor = mixer.proj_out(y.permute(0, 2, 3, 1))
    return out


def _grid_sampled(mixer: Dcnv3, x: Tensor) -> Tensor:
    out: Tensor = mixer.proj_out(grid_sums(mixer.proj_in(x), *mixer.points(x)))
    return out


def runner(module: nn.Module, x: Tensor, train: bool) -> Callable[[], object]:
    """One forward pass, or one forward and backward pass."""
    if train:
        x = x.requires_grad_()
        return lambda: module(x).float().square().mean().backward()

    def infer() -> Tensor:
        with torch.inference_mode():
            y: Tensor = module(x)
            return y

    return infer


def peers_from(
    folder: Path | None, name: str, ours: nn.Module, position: BlockPosition, train: bool
) -> dict[str, Peer]:
    """The peers of one mixer at one position; none, and one line that says why, where a file is missing."""
    if folder is None:
        return peers(name, ours, position)
    try:
        return authors_peers.peers_of(folder, name, ours, position, train)
    except NoPeerError as error:
        print(f"{name}, stage {position.stage + 1}: passed over, {error}", file=sys.stderr)
        return {}


def measured(modules: dict[str, Peer], x: Tensor, train: bool, timer: Timer, number: int) -> dict[str, list[float]]:
    """Seconds of every module in each of `number` rounds, interleaved."""
    run = {}
    for key, (module, channels_first) in modules.items():
        module = module.to(x.device, x.dtype).train(train)
        given = x.permute(0, 3, 1, 2).contiguous() if channels_first else x.clone()
        run[key] = runner(module, given, train)
    for _ in range(3):
        for function in run.values():
            timer.time(function)
    subjects = {key: (lambda f=function: timer.time(f)) for key, function in run.items()}
    seconds: dict[str, list[float]] = {key: [] for key in run}
    for samples, _ in zip(rounds(subjects, seed=0), range(number), strict=False):
        for sample in samples:
            seconds[sample.workload].append(sample.seconds)
    return seconds


def print_rows(name: str, position: BlockPosition, seconds: dict[str, list[float]]) -> None:
    """A line for each peer."""
    mine = median_interval(seconds["ours"]).estimate * 1e3
    size = "x".join(map(str, (*position.resolution, position.dim)))
    for key in list(seconds)[1:]:
        ratio = paired_ratio(seconds[key], seconds["ours"])
        print(f"| {name} | {position.stage + 1} | {size} | {mine:.2f} | {key} | "
              f"{ratio.estimate:.2f} | {ratio.low:.2f} to {ratio.high:.2f} |", flush=True)  # fmt: skip


def names_of(given: str | None, authors: bool) -> list[str]:
    """The mixers to measure."""
    if given is None or given == "newer":
        return list(AUTHORS) if authors else list(NEWER if given else PAPERS)
    return given.split(",")


def model_name(name: str, scale: str, authors: bool) -> str:
    options = AUTHORS[name][0].options if authors else ""
    return f"unified_{name}_{scale}" + (f"[{options}]" if options else "")


def main() -> None:
    """Measure every mixer at its first odd block of each stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", default="micro")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=DTYPES, default="fp32")
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--processor-time", action="store_true")
    parser.add_argument("--mixers", metavar="NAMES")
    parser.add_argument("--authors", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    keep_freed_memory()  # as a profile does
    timer = ProcessorTimer(name="processor time") if options.processor_time else timer_for(options.device)
    dtype, authors = DTYPES[options.dtype], options.authors is not None
    mode = "forward and backward" if options.train else "inference"
    print(f"{options.scale} positions at 224, batch {options.batch_size}, {options.dtype}, {options.device}, {mode}, "
          f"{options.rounds} rounds, torch {torch.__version__}, {torch.get_num_threads()} threads\n")  # fmt: skip
    print("| mixer | stage | map | ours, ms | peer | times ours | 95 % |\n|---|---|---|---|---|---|---|")
    for name in names_of(options.mixers, authors):
        for position, _, ours in create_model(model_name(name, options.scale, authors)).mixers():
            if position.block != 1:  # an odd block: shifted windows shift there
                continue
            found = peers_from(options.authors, name, ours, position, options.train)
            if found:
                size = (options.batch_size, *position.resolution, position.dim)
                x = torch.randn(size, device=options.device, dtype=dtype)
                modules = {"ours": (ours, False), **found}
                print_rows(name, position, measured(modules, x, options.train, timer, options.rounds))


if __name__ == "__main__":
    main()
