"""The authors' own modules as peers for `benchmarks/mixers.py --authors FOLDER`.

FOLDER, outside the project, has the files as the repositories publish them, `FOLDER/<owner>_<repository>/<path>`; some
need the package einops. Only this table is ours: which class is the peer of which mixer, how it is built from our
config and what it takes. `ss2d` and `bidirectional_ssm` have peers for their scan alone, as the authors' whole modules
run on CUDA only; so does that of `bi_wkv`, which has none.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.authors_files import AuthorsModule, as_peer, check_same, imported, quiet
from benchmarks.newer_peers import Call, Peer
from stmbench.mixers.base import BlockPosition
from stmbench.mixers.ss2d import PATHS, along_paths, merge_paths

Scan = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]  # as `selective_scan`


def linear_attention(block: Any, x: Tensor) -> Tensor:
    """MLLA's block between its norm and its residual."""
    height, width = block.input_resolution
    image = block.in_proj(x).unflatten(1, (height, width)).permute(0, 3, 1, 2)
    tokens = block.act(block.dwc(image)).permute(0, 2, 3, 1).flatten(1, 2)
    y: Tensor = block.out_proj(block.attn(tokens) * block.act(block.act_proj(x)))
    return y


def linear_block(cls: Any, ours: Any, position: BlockPosition) -> nn.Module:
    block: nn.Module = cls(position.dim, position.resolution, ours.config.heads)
    for name in ("cpe1", "cpe2", "norm1", "norm2", "mlp"):
        delattr(block, name)
    return block


def cross_windows(block: Any, x: Tensor) -> Tensor:
    """CSWin's block between its norm and its residual."""
    parts = block.qkv(x).unflatten(-1, (3, -1)).permute(2, 0, 1, 3).chunk(block.branch_num, dim=-1)
    mixed = [attention(part) for attention, part in zip(block.attns, parts, strict=True)]
    y: Tensor = block.proj(mixed[0] if len(mixed) == 1 else torch.cat(mixed, dim=2))
    return y


def cross_block(cls: Any, ours: Any, position: BlockPosition) -> nn.Module:
    config, side = ours.config, position.resolution[0]
    stripe = config.stripe or side
    block: nn.Module = cls(position.dim, side, config.heads, stripe, qkv_bias=True, last_stage=config.stripe is None)
    for name in ("norm1", "norm2", "mlp"):
        delattr(block, name)
    return block


def gated(cls: Any, ours: Any, position: BlockPosition) -> nn.Module:
    config = ours.config
    filtered: dict[str, Any] = {}
    if config.spectrum is not None:
        layer = sys.modules[cls.__module__].GlobalLocalFilter
        filtered = {"gflayer": layer, "h": config.spectrum[0], "w": config.spectrum[1]}
    module: nn.Module = cls(position.dim, order=config.order, s=config.gate_scale, **filtered)
    return module


def deformable(cls: Any, ours: Any, position: BlockPosition) -> nn.Module:
    config, size = ours.config, position.resolution
    module: nn.Module = cls(
        *(size, size, config.heads, position.dim // config.heads, config.groups, 0.0, 0.0, config.stride),
        **{"offset_range_factor": config.range_factor or -1, "use_pe": True, "dwc_pe": False, "no_off": False},
        **{"fixed_pe": False, "ksize": config.offset_kernel, "log_cpb": False},
    )
    return module


def aggregated(cls: Any, ours: Any, position: BlockPosition) -> nn.Module:
    """TransNeXt's attention with the table of displacements that its network gives it."""
    config, size = ours.config, position.resolution
    ratio = {} if config.window is None else {"window_size": config.window, "sr_ratio": config.ratio}
    module: nn.Module = cls(position.dim, size, config.heads, qkv_bias=config.bias, **ratio)
    index, displacements = sys.modules[cls.__module__].get_relative_position_cpb(size, config.cells(*size))
    module.register_buffer("index", index, persistent=False)
    module.register_buffer("displacements", displacements, persistent=False)
    return Call(module, lambda inner, x: inner(x, *size, inner.index, inner.displacements))


def with_states(pscan: Any) -> Scan:
    """The selective scan by a scan over states (B, L, D, n)."""

    def scan(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        decay = torch.exp(delta[..., None] * a.mT[:, None, None])  # K, B, L, D, n
        written = (delta * u)[..., None] * b[..., None, :]
        states = pscan(decay.flatten(0, 1), written.flatten(0, 1)).view(written.shape)
        return torch.einsum("kbldn,kbln->kbld", states, c)

    return scan


def with_channels(selective_scan: Any) -> Scan:
    """The selective scan by one of channels (B, K D, L)."""

    def scan(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        paths, batch, length, dim = u.shape
        u, delta = (each.permute(1, 0, 3, 2).reshape(batch, paths * dim, length) for each in (u, delta))
        b, c = (each.permute(1, 0, 3, 2).contiguous() for each in (b, c))
        y = selective_scan(u, delta, a.mT.flatten(0, 1), b, c, delta_softplus=False)
        in_paths: Tensor = y.view(batch, paths, dim, length).permute(1, 0, 3, 2).contiguous()
        return in_paths

    return scan


def four_paths(scan: Scan, mixer: Any, x: Tensor) -> Tensor:
    scanned, gate = mixer._scanned_and_gate(x)
    y = scan(along_paths([scanned] * PATHS), *mixer._weights(scanned))
    skipped = scanned * mixer._skip(scanned).sum(dim=0)
    out: Tensor = mixer._project(merge_paths(y, *x.shape[1:3]) + skipped, gate)
    return out


def two_ways(scan: Scan, mixer: Any, x: Tensor) -> Tensor:
    first, gate = mixer.in_proj(x.flatten(1, 2)).chunk(2, dim=-1)
    sequences = mixer._sequences(first)
    ways = scan(sequences, *mixer._weights(sequences)) + sequences * mixer.Ds[:, None, None]
    gated = (ways[0] + ways[1].flip(1)) * F.silu(gate) * (0.5 if mixer.config.divide else 1)
    out: Tensor = mixer.out_proj(gated).view(x.shape)
    return out


def scans(way: Callable[[Scan, Any, Tensor], Tensor]) -> tuple[AuthorsModule, ...]:
    """VMamba's two scans in PyTorch; the projections are ours."""

    def module(path: str, name: str, form: Callable[[Any], Scan], loop: bool = False) -> AuthorsModule:
        return AuthorsModule(
            repository="MzeroMiko/VMamba",
            path=f"classification/models/{path}",
            name=name,
            build=lambda function, ours, position: Call(ours, functools.partial(way, form(function))),
            stand_ins=("selective_scan", "nrow_selective_scan"),
            inference_only=loop,
        )

    return (
        module("pscan.py", "pscan", with_states),
        module("csms6s.py", "selective_scan_torch", with_channels, loop=True),
    )


HORNET = AuthorsModule(repository="raoyongming/HorNet", path="hornet.py", name="gnconv", build=gated, takes="BCHW")
TRANSNEXT = functools.partial(
    AuthorsModule,
    repository="DaiShiResearch/TransNeXt",
    path="classification/transnext_native.py",
    build=aggregated,
    takes="BNC",
)

AUTHORS: Mapping[str, tuple[AuthorsModule, ...]] = {
    "neighborhood_attn": (
        AuthorsModule(
            repository="SHI-Labs/Neighborhood-Attention-Transformer",
            path="natten/nattentorch2d.py",
            name="LegacyNeighborhoodAttention2D",
            build=lambda cls, ours, position: cls(position.dim, ours.config.kernel, ours.config.heads),
            options="dilation=1",
        ),
    ),
    "ss2d": scans(four_paths),
    "bidirectional_ssm": scans(two_ways),
    "linear_attn": (
        AuthorsModule(
            repository="LeapLabTHU/MLLA",
            path="models/mlla.py",
            name="MLLABlock",
            build=linear_block,
            call=linear_attention,
            takes="BNC",
        ),
    ),
    "routing_attn": (
        AuthorsModule(
            repository="rayleizhu/BiFormer",
            path="ops/bra_legacy.py",
            name="BiLevelRoutingAttention",
            build=lambda cls, ours, position: cls(
                *(position.dim, ours.config.heads, ours.config.regions), topk=ours.config.topk, side_dwconv=5
            ),
            of=lambda config: config.topk is not None,
        ),
        AuthorsModule(
            repository="rayleizhu/BiFormer",
            path="models/_common.py",
            name="nchwAttentionLePE",  # of their last stage; the network that they trained convolves its input instead
            build=lambda cls, ours, position: cls(position.dim, ours.config.heads, side_dwconv=5),
            takes="BCHW",
            of=lambda config: config.topk is None,
        ),
    ),
    "gated_conv": (HORNET,),
    "gated_conv_gf": (HORNET,),
    "cross_window_attn": (
        AuthorsModule(
            repository="microsoft/CSWin-Transformer",
            path="models/cswin.py",
            name="CSWinBlock",
            build=cross_block,
            call=cross_windows,
            takes="BNC",
        ),
    ),
    "deformable_attn": (
        AuthorsModule(
            repository="LeapLabTHU/DAT",
            path="models/dat_blocks.py",
            name="DAttentionBaseline",
            build=deformable,
            call=lambda module, x: module(x)[0],
            takes="BCHW",
        ),
    ),
    "afno": (
        AuthorsModule(
            repository="NVlabs/AFNO-transformer",
            path="afno/afno2d.py",
            name="AFNO2D",
            build=lambda cls, ours, position: cls(position.dim, ours.config.blocks, ours.config.threshold),
            takes="BNC",
        ),
    ),
    "aggregated_attn": (
        TRANSNEXT(name="AggregatedAttention", of=lambda config: config.window is not None),
        TRANSNEXT(name="Attention", of=lambda config: config.window is None),
    ),
}


def peers_of(folder: Path, name: str, ours: Any, position: BlockPosition, train: bool) -> dict[str, Peer]:
    """The authors' modules with random weights, which are then those of `ours` as well. Raises NoPeerError."""
    found = {}
    for entry in AUTHORS[name]:
        if entry.of(ours.config) and not (train and entry.inference_only):
            file = folder / entry.repository.replace("/", "_") / entry.path
            with quiet():
                module = entry.build(getattr(imported(file, entry.stand_ins), entry.name), ours, position)
            peer = as_peer(entry, module)
            check_same(ours, module, peer, position)
            found[f"{entry.repository.partition('/')[2]} {entry.name}"] = peer
    return found
