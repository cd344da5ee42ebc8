"""Options of the frequency analysis, and the names of its metrics and conditions."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, Final

from stmbench.analyses.options import ImageOptions, RunSettings, option
from stmbench.errors import ConfigError

if TYPE_CHECKING:
    from stmbench.analyses.base import Analysis, Listener
    from stmbench.tables import Store

NAME: Final = "frequency"
SPECTRA_DEFINITION: Final = "frequency.v1"

AMPLITUDE: Final = "relative_log_amplitude"  # of a feature map, at its highest frequency
CHANGE: Final = "relative_log_amplitude_change"  # of it from a mixer's input to its output
ERROR: Final = "fourier_error"  # share of wrong answers under Fourier basis noise, mean over the heat map
CHANGED: Final = "fourier_changed"  # share of answers that are not the clean ones
ACCURACY: Final = "accuracy"  # condition 'clean', or 'band' with the band's middle as level
CONSISTENCY: Final = "consistency"  # condition 'band'

# conditions
BLOCK: Final = "block"
MIXER_INPUT: Final = "mixer input"
MIXER_OUTPUT: Final = "mixer output"
MIXER: Final = "mixer"  # from its input to its output
ALL_MIXERS: Final = "mean over mixers"
CLEAN: Final = "clean"
BAND: Final = "band"

PARTS: Final = ("spectra", "heat_map", "bands")
PUBLISHED_NORM: Final = 15.7  # Yin et al. 2019, ImageNet: l2 norm of the perturbation of one channel ...
PUBLISHED_SIDE: Final = 224  # ... of 224 x 224 pixels in [0, 1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrequencyOptions(ImageOptions):
    """`parts` of the analysis to run; the other options are those of the noise.

    `norm` is the l2 norm v of the noise in each channel, of pixels in [0, 1]; None is the published 15.7 scaled to the
    image (see `norm_at`). The heat map has `grid` x `grid` frequencies, spread evenly from -`max_frequency` to
    +`max_frequency` cycles per image (None: up to the Nyquist frequency); the published map of ImageNet is grid 63,
    max_frequency 31. `bands` is the number of rings of equal width between 0 and pi.
    """

    num_images: int | None = option(64, help="Images, balanced over the classes and drawn by --seed.", metavar="N",
                                    least=1)  # fmt: skip
    parts: tuple[str, ...] = option(
        PARTS,
        help="spectra (of feature maps), heat_map (noise of one frequency), bands (of noise); default: all.",
        metavar="NAMES",
        example="spectra,bands",
    )
    norm: float | None = option(
        None,
        help="l2 norm of the noise in each channel, of pixels in [0, 1]; default: 15.7 at 224 px, in proportion to the "
        "square root of the number of pixels.",
        metavar="NORM",
    )
    grid: int = option(9, help="Frequencies of the heat map on each axis, an odd number.", metavar="N", least=3,
                       most=1023)  # fmt: skip
    max_frequency: int | None = option(
        None,
        help="Highest frequency of the heat map, in cycles per image; default: half the side.",
        metavar="N",
        least=1,
    )
    bands: int = option(8, help="Bands of noise between 0 and pi.", metavar="N", least=1, most=1024)

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = [part for part in self.parts if part not in PARTS]
        if unknown or not self.parts:
            got = repr(unknown[0]) if unknown else "none"
            raise ConfigError(f"at least one part of {', '.join(PARTS)}", got, "change --parts")
        if self.norm is not None and not 0 < self.norm < math.inf:
            raise ConfigError("a norm above 0", f"{self.norm:g}", "change --norm")
        if self.grid % 2 == 0:
            raise ConfigError("an odd number of frequencies", str(self.grid), "change --grid")

    @property
    def noise_definition(self) -> str:
        """The table's `definition` of what depends on the noise: it has the norm in its name."""
        name, version = SPECTRA_DEFINITION.rsplit(".", 1)
        # a point would end a word of the name
        word = "scaled_norm" if self.norm is None else f"norm{self.norm:g}".replace(".", "_")
        return f"{name}.{word}.{version}"

    def norm_at(self, height: int, width: int) -> float:
        """The norm for an image of height x width pixels.

        The published norm is scaled by the square root of the number of pixels, so that the root mean square of the
        noise stays 15.7 / 224 = 0.070 at every size: 15.7 at 224 px, 2.24 at 32 px.
        """
        return PUBLISHED_NORM * math.sqrt(height * width) / PUBLISHED_SIDE if self.norm is None else self.norm

    def analysis(self, run: RunSettings, store: Store, listener: Listener | None = None) -> Analysis:
        from stmbench.analyses.frequency.analysis import FrequencyAnalysis

        return FrequencyAnalysis(self, self.request(run), store, listener=listener)

    def passes(self, images: int) -> float:
        each: dict[str, Any] = {"spectra": 1, "heat_map": 1 + (self.grid**2 + 1) // 2, "bands": 1 + self.bands}
        return float(images * sum(each[part] for part in dict.fromkeys(self.parts)))
