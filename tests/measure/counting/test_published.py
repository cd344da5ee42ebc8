"""The papers' figures, under the convention that each of them used, and ours beside them."""

from __future__ import annotations

import pytest

from stmbench.measure.counting import fvcore_default
from stmbench.mixers.base import MIXERS
from tests.measure.counting.models import SCALES, counted, without_numbers

# Hu et al., Table III: G multiply-adds at 224
TABLE_3 = {
    "halo_attn": (0.65, 4.75, 8.92, 15.84),
    "sr_attn": (0.57, 4.56, 7.33, 12.73),
    "sw_attn": (0.71, 4.91, 9.18, 16.18),
    "dw_conv": (0.65, 5.01, 9.40, 16.64),
    "dcnv3": (0.65, 4.83, 8.24, 16.08),
}
# every product and every sample counted
MACS = {
    "halo_attn": (0.847, 5.263, 9.754, 16.955),
    "sr_attn": (0.612, 4.708, 7.551, 13.130),
    "sw_attn": (0.701, 4.883, 9.133, 16.128),
    "dw_conv": (0.648, 4.997, 9.388, 16.621),
    "dcnv3": (0.661, 4.885, 8.306, 16.183),
}
SAMPLING = (0.025, 0.099, 0.133, 0.186)  # of dcnv3: 5 * 9 * H * W * C a layer
# fvcore's own totals of the authors' modules; where they hold no attention ours must agree
FVCORE = {"dw_conv": (0.658, 5.023, 9.425, 16.670)}
CASES = [(mixer, scale, index) for mixer in TABLE_3 for index, scale in enumerate(SCALES)]


@pytest.mark.parametrize(("mixer", "scale", "index"), CASES)
def test_published_convention_gives_table_3(mixer: str, scale: str, index: int) -> None:
    convention = MIXERS.get(mixer).published_convention
    assert convention is not None
    published = counted(mixer, scale, 224, 224).total.under(convention) / 1e9
    assert published == pytest.approx(TABLE_3[mixer][index], rel=0.01)


@pytest.mark.parametrize(("mixer", "scale", "index"), CASES)
def test_macs_equal_reference_figures(mixer: str, scale: str, index: int) -> None:
    assert counted(mixer, scale, 224, 224).macs / 1e9 == pytest.approx(MACS[mixer][index], rel=0.005)


@pytest.mark.parametrize("scale", SCALES)
def test_sampling_is_in_macs_and_in_no_published_figure(scale: str) -> None:
    counts, index = counted("dcnv3", scale, 224, 224), SCALES.index(scale)
    assert counts.total.kinds["sampling"] / 1e9 == pytest.approx(SAMPLING[index], abs=0.0006)
    assert "matmul" not in counts.total.kinds
    assert "sampling" not in (MIXERS.get("dcnv3").published_convention or ())


@pytest.mark.parametrize(("mixer", "scale"), [(mixer, scale) for mixer in FVCORE for scale in ("micro", "tiny")])
def test_fvcore_default(mixer: str, scale: str) -> None:
    total = fvcore_default(without_numbers(mixer, scale), (3, 224, 224))
    assert total / 1e9 == pytest.approx(FVCORE[mixer][SCALES.index(scale)], rel=0.002)


def test_plain_fvcore_counts_no_fused_attention() -> None:
    counts = counted("sw_attn", "micro", 224, 224)
    assert counts.total.kinds["matmul"] > 5e7
    # nor does it see that a mean over positions is a pooling
    assert fvcore_default(without_numbers("sw_attn", "micro"), (3, 224, 224)) == counts.total.under(
        {"conv", "linear", "norm"}
    )
