"""Options of the profile."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from stmbench.analyses.options import DTYPES, LARGEST_BATCH, MOST_THREADS, Options, RunSettings, option, resolutions
from stmbench.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from stmbench.analyses.base import Analysis, Listener
    from stmbench.analyses.profile.config import ProfileConfig
    from stmbench.tables import Store

START_S = 1.0  # of any run
MODEL_S = 12.0  # of a model, besides its samples: memory, parts, warm-up
ROUND_S = 0.6  # of a model in one round: a batch, and four single images
FEWEST_ROUNDS = 10  # whatever the budget is; `tables.labels` asks for as many


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProfileOptions(Options):
    """Several `resolution`s and `dtype`s are measured one after the other; models are compared within each."""

    alone: ClassVar[bool] = True
    small: ClassVar[Mapping[str, Any]] = {"resolution": (32,), "batch_size": 2, "time_budget": 1.0}

    resolution: tuple[int | str, ...] = option(
        (), help="224 or 224x320 (H x W), comma-separated; default: design.", metavar="SIZES"
    )
    batch_size: int | str | None = option(
        "auto", help="Images in a batch, or auto: where throughput saturates.", metavar="N"
    )
    dtype: tuple[str, ...] = option(
        ("fp32",), help="fp32, tf32, bf16, fp16, comma-separated; default: fp32.", metavar="DTYPES", completion="dtypes"
    )
    mode: Literal["infer", "train"] = option(
        "infer", help="infer, or train: forward, backward and AdamW step.", metavar="MODE"
    )
    level: Literal["model", "operator"] = option(
        "model", help="model, or operator: the mixer alone, stage by stage.", metavar="LEVEL"
    )
    timing: bool = option(
        True,
        help="Skip timing: count parameters, MACs and activations only.",
        flags=("--timing/--no-timing",),
    )
    compile: bool = option(False, help="Time models compiled with torch.compile.")
    channels_last: bool = option(False, help="Use the channels_last format for weights and images.")
    threads: int | None = option(None, help="CPU threads; default: torch's choice.", least=1, most=MOST_THREADS)
    images: Literal["noise", "photos"] = option("noise", help="noise, or photos: bundled photographs.", metavar="KIND")
    target_width: float = option(0.03, help="Sample until the ratios' 95 % intervals are narrower than this.")
    time_budget: float = option(120.0, help="Seconds of sampling per setting at most, but at least 10 rounds.")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.dtype:
            if name not in DTYPES:
                raise UnknownNameError("dtype", name, DTYPES)
        if not self.dtype:
            raise ConfigError("at least one dtype", "none", "change --dtype")
        self.config(RunSettings(models=("any",)))  # refuses invalid values

    @property
    def batch(self) -> int | None:
        """The batch size; None: found where throughput saturates."""
        if self.batch_size in ("auto", None):
            return None
        text = str(self.batch_size)
        if not (text.isascii() and text.isdigit() and len(text) <= 20 and 1 <= int(text) <= LARGEST_BATCH):
            got = repr(text) if len(text) <= 40 else f"{len(text)} characters"
            raise ConfigError(f"a batch size from 1 to {LARGEST_BATCH}, or auto", got, "change --batch-size")
        return int(text)

    def config(self, run: RunSettings) -> ProfileConfig:
        """The analysis's config for these models."""
        from stmbench.analyses.profile.config import ProfileConfig

        return ProfileConfig(
            models=run.models,
            mode=self.mode,
            level=self.level,
            resolutions=tuple(resolutions(",".join(map(str, self.resolution)))) if self.resolution else None,
            batch_size=self.batch,
            dtypes=self.dtype,
            compile=self.compile,
            channels_last=self.channels_last,
            device=run.device,
            threads=self.threads,
            seed=run.seed,
            timing=self.timing,
            target_width=self.target_width,
            time_budget=self.time_budget,
            images=self.images,
            plugins=run.plugins,
        )

    def analysis(self, run: RunSettings, store: Store, listener: Listener | None = None) -> Analysis:
        from stmbench.analyses.profile.analysis import Profile

        return Profile(self.config(run), store, listener=listener)

    def seconds(self, models: int, images: int, speed: Callable[[], float]) -> float:
        settings = max(1, len(self.resolution)) * len(self.dtype)
        sampling = max(self.time_budget, FEWEST_ROUNDS * ROUND_S * models) * settings
        return START_S + (sampling + MODEL_S * models if self.timing else models)
