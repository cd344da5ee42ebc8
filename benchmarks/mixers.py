"""Each mixer beside its peers in timm and torchvision: the same work, the same input, one run, interleaved.

    python -m benchmarks.mixers                       the micro positions at 224, batch 8, inference
    python -m benchmarks.mixers --train               forward and backward
    python -m benchmarks.mixers --mixers newer        those of `newer_peers`, or names joined by commas
    python -m benchmarks.mixers --device cuda --dtype bf16 --scale tiny --batch-size 64

Prints a Markdown table: milliseconds of ours, and how many times as long each peer takes, with the 95 % interval of the
paired ratio. A peer gets its input in the layout it was written for, so that no conversion is charged to it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from timm.layers.halo_attn import HaloAttn as TimmHaloAttn
from timm.models.pvt_v2 import Attention as TimmSrAttn
from timm.models.swin_transformer import SwinTransformerBlock
from torch import Tensor, nn
from torchvision.models.swin_transformer import ShiftedWindowAttention
from torchvision.ops import deform_conv2d

from benchmarks.newer_peers import NEWER, Call, Peer
from stmbench.architectures.catalog import create_model
from stmbench.measure.bootstrap import median_interval, paired_ratio
from stmbench.measure.clock import timer_for
from stmbench.measure.interleaving import rounds
from stmbench.mixers.base import BlockPosition
from stmbench.mixers.dcnv3 import POINTS, Dcnv3
from stmbench.mixers.ops.bilinear import grid_sums

PAPERS = ("halo_attn", "sr_attn", "sw_attn", "dw_conv", "dcnv3")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


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


def main() -> None:
    """Measure every mixer at its first odd block of each stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", default="micro")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=DTYPES, default="fp32")
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--mixers", default=",".join(PAPERS), metavar="NAMES")
    options = parser.parse_args()
    timer, dtype = timer_for(options.device), DTYPES[options.dtype]
    mode = "forward and backward" if options.train else "inference"
    print(f"{options.scale} positions at 224, batch {options.batch_size}, {options.dtype}, {options.device}, {mode}, "
          f"{options.rounds} rounds, torch {torch.__version__}, {torch.get_num_threads()} threads\n")  # fmt: skip
    print("| mixer | stage | map | ours, ms | peer | times ours | 95 % |\n|---|---|---|---|---|---|---|")
    for name in NEWER if options.mixers == "newer" else options.mixers.split(","):
        model = create_model(f"unified_{name}_{options.scale}").to(options.device, dtype).train(options.train)
        for position, _, ours in model.mixers():
            if position.block != 1:  # an odd block: shifted windows shift there
                continue
            x = torch.randn(options.batch_size, *position.resolution, position.dim, device=options.device, dtype=dtype)
            modules = {"ours": (ours, False), **peers(name, ours, position)}
            run = {}
            for key, (module, channels_first) in modules.items():
                module = module.to(options.device, dtype).train(options.train)
                given = x.permute(0, 3, 1, 2).contiguous() if channels_first else x.clone()
                run[key] = runner(module, given, options.train)
            for _ in range(3):
                for function in run.values():
                    timer.time(function)
            subjects = {key: (lambda f=function: timer.time(f)) for key, function in run.items()}
            seconds: dict[str, list[float]] = {key: [] for key in run}
            for samples, _ in zip(rounds(subjects, seed=0), range(options.rounds), strict=False):
                for sample in samples:
                    seconds[sample.workload].append(sample.seconds)
            mine = median_interval(seconds["ours"]).estimate * 1e3
            for key in list(run)[1:]:
                ratio = paired_ratio(seconds[key], seconds["ours"])
                size = "x".join(map(str, position.resolution))
                print(f"| {name} | {position.stage + 1} | {size}x{position.dim} | {mine:.2f} | {key} | "
                      f"{ratio.estimate:.2f} | {ratio.low:.2f} to {ratio.high:.2f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
